"""Owns who may use the board: with the key, or without one from this machine; knows no page.

A page of another site must not act through an operator's browser, so each act needs a header that
no other site can have a browser send, beside what the browser itself says of where it came from.
"""

import os
import struct
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from server.admin.access import Endpoint, guarded

HEADER = "x-switchboard-board"
_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"

Address = tuple[str, Any]


def may_read(key: str | None, is_local: bool, endpoint: Endpoint) -> Endpoint:
    """Return an endpoint that all of this machine reach, or from a network those with the key."""
    return endpoint if is_local else guarded(key, endpoint)


def may_act(key: str | None, is_local: bool, endpoint: Endpoint) -> Endpoint:
    """Return an endpoint for what changes something.

    It needs the key. If the server has none and only this machine reaches the port, it needs a
    program of the same user, or of root, as the shell's commands do.
    """

    async def of_this_user(request: Request) -> Response:
        _check_origin(request)
        _check_user(request)
        return await endpoint(request)

    inner = of_this_user if key is None and is_local else guarded(key, endpoint)

    async def checked(request: Request) -> Response:
        _check_site(request)
        return await inner(request)

    return checked


def _check_site(request: Request) -> None:
    if request.headers.get(HEADER) != "1":
        raise HTTPException(403, f"{HEADER}: 1 is missing: only the board's own page acts here")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "this came from a page of another site: use the board's own page")


def _check_origin(request: Request) -> None:
    """Refuse what does not come from the page; programs take the key and the other calls."""
    hosts, origins = request.headers.getlist("host"), request.headers.getlist("origin")
    if len(hosts) != 1 or origins != [f"http://{hosts[0]}"]:
        raise HTTPException(403, "origin: must be that of the board's own page, without a key")


def _check_user(request: Request) -> None:
    """Refuse programs of other users of this machine, and with them proxies for a network."""
    if request.client is None or request.scope.get("server") is None:
        raise HTTPException(403, "it is not known who asks: start the server with a key")
    owner = _owner(request.client, request.scope["server"])
    if owner not in (0, os.getuid()):
        raise HTTPException(
            403, "without a key only the user who runs the server acts here: start it with a key"
        )


def _owner(client: Address, server: Address) -> int | None:
    """Return the user id that owns the client's end of a connection; None if it is not there.

    One that is closed already counts as not there: the kernel then says 0 for its owner.
    """
    try:
        ends = [_as_in_table(client), _as_in_table(server)]
    except OSError:  # no IP address
        return None
    for table in _TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:  # not Linux, or no IPv6
            continue
        for line in lines:  # proc(5)
            columns = line.split()
            if columns[1:3] == ends and columns[3] == _ESTABLISHED:
                return int(columns[7])
    return None


def _as_in_table(address: Address) -> str:
    """Return an address as the kernel's tables have it: 32 bits at a time, in its byte order."""
    host, port = address
    family = AF_INET6 if ":" in host else AF_INET
    packed = inet_pton(family, host)
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return f"{''.join(f'{word:08X}' for word in words)}:{int(port):04X}"

"""Owns the look at an app before it is served: routes, close codes, what it asks, in plain values.

The supervisor must not import the app: workers started later would inherit the old code. So it is
loaded in a process that ends right after.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import sys
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from typing import Any

from server.app import App
from server.exceptions import SettingsError
from server.loader import load_app
from server.protection import Protection, protection_of

LOOK_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Look:
    """What an app has.

    Attributes:
        routes: one row of plain values per route.
        close_codes: those the app declares beside the registered ones.
        protection: what it asks of its clients.
    """

    routes: list[dict[str, Any]]
    close_codes: list[int]
    protection: Protection


def inspect_app(reference: str) -> Look:
    """Load the app in a process of its own and look at it.

    Raises:
        SettingsError: the app cannot be used.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_inspect_in_child, args=(reference, sender), daemon=True)
    child.start()
    sender.close()
    try:
        problem, look = receiver.recv()
    except EOFError:
        child.join()
        raise SettingsError(
            f"importing {reference!r} ended the process (exit code {child.exitcode})"
        ) from None
    child.join(1)
    if child.is_alive():  # a thread that the app started at its import goes on
        child.kill()
        child.join()
    if problem is not None:
        raise SettingsError(problem)
    return look  # type: ignore[no-any-return]


def _inspect_in_child(reference: str, sender: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it with no traceback
    os.dup2(2, 1)  # what the app prints at its import is no output of ours
    try:
        app = load_app(reference)
        sender.send((None, Look(describe_routes(app), declared_codes(app), protection_of(app))))
    except SettingsError as error:
        sender.send((str(error), None))
    except Exception as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        sender.send((f"looking at {reference!r} failed: {problem}", None))


async def routes_now(reference: str) -> list[str]:
    """Return the route templates of the app as it is on disk now; for a reload.

    A fresh interpreter, because a running supervisor has threads and must not fork.

    Raises:
        SettingsError: the app cannot be used.
    """
    command = [sys.executable, "-m", "server", "routes", reference, "--json"]
    look = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, process_group=0)
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            output, errors = await look.communicate()
    except TimeoutError:
        raise SettingsError(f"looking at {reference!r} took over {LOOK_TIMEOUT_S:g} s") from None
    finally:
        if look.returncode is None:
            os.killpg(look.pid, signal.SIGKILL)  # it looks in a process of its own
    if look.returncode != 0:
        lines = errors.decode().strip().splitlines() or [f"exit code {look.returncode}"]
        raise SettingsError(lines[-1].removeprefix("switchboard: error: "))
    return websocket_templates(json.loads(output))


def websocket_templates(rows: list[dict[str, Any]]) -> list[str]:
    """Return the path templates that connections are counted by."""
    templates = {"websocket": "path", "mount": "websockets"}
    return [row[templates[row["kind"]]] for row in rows if row["kind"] in templates]


def describe_routes(app: Any) -> list[dict[str, Any]]:
    """Return one row of plain values per route; a foreign ASGI app has none."""
    if not isinstance(app, App):
        return []
    rows: list[dict[str, Any]] = [
        {
            "kind": "websocket",
            "path": route.pattern.text,
            "view": route.name,
            "accept": "automatic" if route.auto_accept else "by the view",
            "receive": _type_name(route.receive_type),
            "send": _type_name(route.send_type),
        }
        for route in sorted(app.websocket_list, key=lambda route: not route.pattern.is_static)
    ]
    rows += [
        {"kind": "http", "path": route.pattern.text, "view": route.name, "methods": route.methods}
        for route in sorted(app.http_list, key=lambda route: not route.pattern.is_static)
    ]
    rows += [
        {
            "kind": "mount",
            "path": mount.prefix or "/",
            "websockets": mount.websocket.pattern.text,
            "view": repr(mount.app),
        }
        for mount in app.mounts
    ]
    return rows


def declared_codes(app: Any) -> list[int]:
    """Return the close codes that the app declares of its own."""
    return sorted(app.close_codes) if isinstance(app, App) else []


def _type_name(type_: Any) -> str:
    return type_ if isinstance(type_, str) else getattr(type_, "__name__", repr(type_))

"""Owns sessions in a signed cookie, which HTTP views write and WebSockets read; knows no view.

The cookie is Starlette's, and so is what happens to HTTP. Its middleware puts a `send` of its own
around WebSockets as well, which have no response to set a cookie with; that would cost them the
pipelined sends (docs/topics/host.md), so here they only get what the cookie holds.
"""

import json
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal

from starlette.datastructures import Secret

from server.exceptions import SettingsError
from server.handshake import Scope
from server.secret import read_secret
from server.transport import Receive, Send

SameSite = Literal["lax", "strict", "none"]

SECRET_NAME = "SWITCHBOARD_SESSION_SECRET"  # noqa: S105 - where it is, not what it is
TWO_WEEKS_S = 14 * 24 * 3600
MAX_COOKIE_BYTES = 8192
LEAST_SECRET = 32
_MAKE_ONE = "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 6265 section 4.1.1
_VALUE = re.compile(r"[\x21-\x3a\x3c-\x7e]+")


class Sessions:
    """ASGI middleware: `scope["session"]` is what the cookie holds.

    A cookie that is not signed, forged, expired, too large, no JSON object, or there twice is an
    empty session.

    Args:
        app: what it wraps.
        secret_key: at least 32 characters; whoever knows it can forge every session.
        session_cookie: the cookie's name.
        max_age: seconds from when it was written; None: until the browser is closed, and for ever
            to someone who has kept it.
        same_site: "none" lets pages of other sites use the session, and needs `https_only`.
        https_only: browsers send the cookie over TLS alone.
        path, domain: of the requests that carry the cookie; no domain: of this host alone.

    Raises:
        SettingsError: the secret is empty or short, an option is impossible, or itsdangerous is not
            installed.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        *,
        secret_key: str | Secret,
        session_cookie: str = "session",
        max_age: int | None = TWO_WEEKS_S,
        same_site: SameSite = "lax",
        https_only: bool = False,
        path: str = "/",
        domain: str | None = None,
    ) -> None:
        try:
            from itsdangerous import BadSignature
            from starlette.middleware.sessions import Session, SessionMiddleware
        except ImportError:
            raise SettingsError(
                "sessions need itsdangerous: pip install 'switchboard-server[sessions]'"
            ) from None
        _check_secret(str(secret_key))
        _check_cookie(session_cookie, max_age, same_site, https_only, path, domain)
        self._app = app
        self._http = SessionMiddleware(
            app,
            secret_key=secret_key,
            session_cookie=session_cookie,
            max_age=max_age,
            path=path,
            same_site=same_site,
            https_only=https_only,
            domain=domain,
        )
        self._session = Session  # a mounted Starlette app expects its own kind
        self._forged = BadSignature
        self._unsign = self._http.signer.unsign
        self._name = session_cookie.encode()
        self._max_age = max_age

    # Without a coroutine of its own: every wake-up of a connection would go through it.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            return self._http(scope, receive, send)
        if scope["type"] == "websocket":
            scope["session"] = self._session(self._read(scope["headers"]))
        return self._app(scope, receive, send)

    def _read(self, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
        """Return what the cookie holds; nothing, if it is no good."""
        cookie = _only_cookie(headers, self._name)
        if cookie is None or len(cookie) > MAX_COOKIE_BYTES:
            return {}
        try:
            session = json.loads(b64decode(self._unsign(cookie, max_age=self._max_age)))
        except (self._forged, ValueError, RecursionError):
            return {}
        return session if isinstance(session, dict) else {}


def session_options(secret_key: str | None, **options: Any) -> dict[str, Any]:
    """Return the options of `Sessions`, tried and with the secret hidden from every `repr`.

    Args:
        secret_key: None reads SWITCHBOARD_SESSION_SECRET, or the file that
            SWITCHBOARD_SESSION_SECRET_FILE names.

    Raises:
        SettingsError: as `Sessions`, or there is no secret.
    """
    if secret_key is None:
        secret_key = read_secret(SECRET_NAME, what="the secret of the sessions")
    if secret_key is None:
        raise SettingsError(
            f"sessions need a secret: set {SECRET_NAME}, or {SECRET_NAME}_FILE to a file that has"
            f" it; {_MAKE_ONE}"
        )
    options["secret_key"] = Secret(secret_key)
    Sessions(_nothing, **options)
    return options


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Stand in for the app while options are tried."""


def _check_secret(secret: str) -> None:
    if len(secret) < LEAST_SECRET:
        raise SettingsError(
            f"the secret of the sessions has {len(secret)} characters and needs {LEAST_SECRET};"
            f" {_MAKE_ONE}"
        )


def _check_cookie(
    name: str,
    max_age: int | None,
    same_site: str,
    https_only: bool,
    path: str,
    domain: str | None,
) -> None:
    """Refuse what a browser would drop without a word."""
    if not _NAME.fullmatch(name):
        raise SettingsError(f"session_cookie {name!r} is no name of a cookie")
    if max_age is not None and max_age < 1:
        raise SettingsError(f"the age of sessions must be at least 1 second, not {max_age}")
    if same_site not in ("lax", "strict", "none"):
        raise SettingsError(f"same_site {same_site!r} is none of 'lax', 'strict', 'none'")
    if same_site == "none" and not https_only:
        raise SettingsError("same_site='none' needs https_only=True: browsers want both")
    if not path.startswith("/") or not _VALUE.fullmatch(path):
        raise SettingsError(f"the path of the session cookie is {path!r}; it begins with a slash")
    if domain is not None and not _VALUE.fullmatch(domain):
        raise SettingsError(f"the domain of the session cookie is {domain!r}, which is none")


def _only_cookie(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the value of a cookie that is there once.

    Of two with one name, one may have been planted by a page of a neighbouring domain, and nothing
    tells which.
    """
    found: bytes | None = None
    for header, value in headers:
        if header != b"cookie":
            continue
        for part in value.split(b";"):
            key, _, content = part.partition(b"=")
            if key.strip() == name:
                if found is not None:
                    return None
                found = content.strip().strip(b'"')
    return found

"""Owns the key of the admin port: where it is read from, and the check of it; says it to nobody."""

import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from server.exceptions import SettingsError
from server.secret import how_to_make, read_secret_file
from server.settings import ENV_PREFIX, Settings

MIN_CHARS = 16
_VARIABLE = f"{ENV_PREFIX}ADMIN_KEY"
_MAKE_ONE = how_to_make()
_NO_KEY = (
    f"this needs a key, and the server was started without: {_MAKE_ONE}, start the server with it"
    f" in {_VARIABLE} or in a file named by --admin-key-file, and send it as"
    " `Authorization: Bearer KEY`"
)
_WRONG_KEY = "the key is missing or wrong: send `Authorization: Bearer KEY`"
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="switchboard"'}

Endpoint = Callable[[Request], Awaitable[Response]]


def read_key(settings: Settings) -> str | None:
    """Return the key, or None if there is none; and take it out of this process's environment.

    What this process starts, the user's app above all, does not inherit it then.

    Raises:
        SettingsError: the file cannot be read, there are two keys, or it is no good as a key. Its
            line has nothing of the key in it.
    """
    os.environ.pop(_VARIABLE, None)
    key, source = settings.admin_key, _VARIABLE
    if settings.admin_key_file:
        if key:
            raise SettingsError("there are two keys: give admin_key or admin_key_file, not both")
        source = f"admin_key_file {settings.admin_key_file}"
        key = read_secret_file(Path(settings.admin_key_file), source).strip()
    elif not key:
        return None
    if len(key) < MIN_CHARS or not all("!" <= char <= "~" for char in key):
        raise SettingsError(
            f"{source}: a key has at least {MIN_CHARS} characters, which are ASCII and no spaces:"
            f" {_MAKE_ONE}"
        )
    return key


def guarded(key: str | None, endpoint: Endpoint) -> Endpoint:
    """Return an endpoint that only a request with the key reaches; without a key none does."""

    async def checked(request: Request) -> Response:
        if key is None:
            raise HTTPException(403, _NO_KEY)
        if not _has_key(request, key):
            raise HTTPException(401, _WRONG_KEY, _CHALLENGE)
        return await endpoint(request)

    return checked


def _has_key(request: Request, key: str) -> bool:
    headers = request.headers.getlist("authorization")
    scheme, _, given = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
    is_equal = secrets.compare_digest(given.strip().encode("latin-1"), key.encode())
    return is_equal and scheme.lower() == "bearer"

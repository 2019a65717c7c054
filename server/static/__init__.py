"""Owns the files for browsers that come with the package, and how one is answered with."""

import stat
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

_FOLDER = Path(__file__).parent
_FILES = StaticFiles(directory=_FOLDER)


async def client_script(request: Request) -> Response:
    """Answer with the JavaScript client; 304 if the browser has this one (RFC 9110, 13.1)."""
    path = _FOLDER / "switchboard.js"
    found = path.stat()
    assert stat.S_ISREG(found.st_mode)
    answer = _FILES.file_response(path, found, request.scope)
    if answer.status_code == 200:
        answer.headers["content-type"] = (
            "text/javascript; charset=utf-8"  # whatever the machine says
        )
    answer.headers["cache-control"] = "no-cache"  # ask each time: pages have to fit the server
    return answer

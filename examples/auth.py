"""Who may come in: tokens, API keys, guards, a session, and how to log out again.

Its secrets come from the environment, because all worker processes need the same ones, also those
that are started later. Without them it is refused, with one line that says which is missing:

    for name in JWT_SECRET SESSION_SECRET API_KEYS; do
        export SWITCHBOARD_$name=$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')
    done
    make serve APP=examples.auth:app

`python -m server check --production examples.auth:app` says how it is protected.

THIS IS A DEMO: `/token` and `/login` believe whoever asks. Yours ask for a password first.
"""

import os
import secrets
import sqlite3
import time
from pathlib import Path
from typing import Annotated, Any

import jwt
import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse

from server import AdmissionLimits, App, ConnectionLimits, WebSocket
from server.auth import (
    AllowAny,
    APIKeyAuthentication,
    IsAdminUser,
    IsAuthenticated,
    JWTAuthentication,
)

PAGE = (Path(__file__).parent / "auth.html").read_text()
AUDIENCE = "examples.auth"  # so that what is given away here is good for no other app
TOKEN_S = 600
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]{1,16}\Z")]


class RevokedTokens:
    """The ids of revoked tokens until they expire, in a file that all workers see."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS revoked (jti TEXT PRIMARY KEY, exp REAL)"
        )

    def add(self, jti: str, exp: float) -> None:
        """Revoke a token, and forget those that have expired by themselves."""
        self._database.execute("DELETE FROM revoked WHERE exp < ?", [time.time() - 3600])
        self._database.execute("INSERT OR IGNORE INTO revoked VALUES (?, ?)", [jti, exp])

    def has(self, claims: dict[str, Any]) -> bool:
        """Whether it is revoked; asked for each token that is good otherwise."""
        found = self._database.execute("SELECT 1 FROM revoked WHERE jti = ?", [claims["jti"]])
        return found.fetchone() is not None


revoked = RevokedTokens(os.environ.get("REVOKED_TOKENS", "revoked.sqlite3"))
tokens = JWTAuthentication(
    audience=AUDIENCE, require_jti=True, revoked_token_handler=revoked.has
)  # with the secret in SWITCHBOARD_JWT_SECRET
keys = APIKeyAuthentication()  # those in SWITCHBOARD_API_KEYS

app = App(
    "auth",
    auth=[tokens],
    guards=[IsAuthenticated()],  # of every route that does not say otherwise
    admission=AdmissionLimits(connections_per_ip=50, connections_per_user=10, handshakes_per_s=200),
    limits=ConnectionLimits(messages_per_s=20, idle_timeout_s=600, lifetime_s=8 * 3600),
)
# Browsers send such a cookie over TLS alone, most of them also to http://localhost.
app.add_sessions(https_only=True)  # with the secret in SWITCHBOARD_SESSION_SECRET


# -- tokens --------------------------------------------------------------------------------------


@app.route("/token/{name}", methods=["POST"], auth=[], guards=[AllowAny()])
async def token(request: Request, name: Name) -> dict[str, str]:
    """DEMO: give a token to whoever asks, for any name; that of "admin" is an administrator's."""
    claims = {
        "sub": name,
        "aud": AUDIENCE,
        "jti": secrets.token_urlsafe(12),
        "exp": time.time() + TOKEN_S,
        "is_superuser": name == "admin",
    }
    return {"token": jwt.encode(claims, signing_key(), "HS256")}


def signing_key() -> str:
    """Return what `JWTAuthentication()` verifies with."""
    path = os.environ.get("SWITCHBOARD_JWT_SECRET_FILE")
    return Path(path).read_text().rstrip("\r\n") if path else os.environ["SWITCHBOARD_JWT_SECRET"]


@app.websocket("/ws/protected")
async def protected(websocket: WebSocket) -> None:
    """Greet whose token it is, as in Django-Bolt's guide, and echo."""
    user_id = websocket.context.get("user_id")
    await websocket.accept()
    await websocket.send_text(f"Welcome, user {user_id}")
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@app.websocket_route("/ws/admin", value_type="json", guards=[IsAdminUser()])
async def admin(ws: WebSocket) -> None:
    """Tell administrators how many are connected, whenever they ask."""
    async for _ in ws:
        await ws.send({"connections": app.connections.count()})


@app.route("/logout", methods=["POST"])
async def logout(request: Request) -> None:
    """Revoke the token that asks, then close what its user has open, on all workers.

    In this order: a client that reconnects at once finds its token revoked.
    """
    identity = request.state.identity
    revoked.add(identity.claims["jti"], identity.claims["exp"])
    await app.connections.disconnect(user=identity.user_id, code=4503, reason="logged out")


# -- API keys ------------------------------------------------------------------------------------


@app.websocket_route("/ws/machines", auth=[keys])
async def machines(ws: WebSocket) -> None:
    """Say which key it is; for programs, which can send a header."""
    await ws.send(f"Welcome, {ws.user_id}")
    async for message in ws:
        await ws.send(message)


# -- a session that HTTP and WebSockets share ----------------------------------------------------


@app.route("/login/{name}", methods=["POST"], auth=[], guards=[AllowAny()])
async def login(request: Request, name: Name) -> None:
    """DEMO: believe whoever asks, and remember it in the session."""
    request.session["user"] = name


@app.websocket_route("/ws/session", auth=[], guards=[AllowAny()], auto_accept=False)
async def session(ws: WebSocket) -> None:
    """Greet who has logged in over HTTP; the view asks the session by itself."""
    user = ws.session.get("user")
    if user is None:
        await ws.reject(401)
        return
    ws.user_id = user  # so that /logout-session finds it
    async with ws:
        await ws.send(f"Welcome back, {user}")
        async for message in ws:
            await ws.send(message)


@app.route("/logout-session", methods=["POST"], auth=[], guards=[AllowAny()])
async def logout_session(request: Request) -> None:
    """Empty the session, then close what its user has open."""
    user = request.session.pop("user", None)
    if user is not None:
        await app.connections.disconnect(user=user, code=4503, reason="logged out")


# -- the page ------------------------------------------------------------------------------------


@app.route("/", auth=[], guards=[AllowAny()])
async def page(request: Request) -> HTMLResponse:
    """A page to try it."""
    return HTMLResponse(PAGE)

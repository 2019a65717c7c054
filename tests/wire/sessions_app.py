"""Owns two apps with one session each, ours and Starlette's, which tell how their sends go out."""

from typing import Any

from starlette.middleware.sessions import SessionMiddleware

from server import App, WebSocket

SECRET = "0123456789abcdef0123456789abcdef"


def make_app() -> App:
    app = App()

    @app.route("/login")
    async def login(request: Any) -> None:
        request.session["user"] = "ann"

    @app.websocket_route("/session", value_type="json")
    async def session(ws: WebSocket) -> None:
        await ws.send({"session": ws.session, "outbox": type(ws._outbox).__name__})

    return app


app = make_app()
app.add_sessions(SECRET)

wrapped = make_app()
wrapped.add_middleware(SessionMiddleware, secret_key=SECRET)

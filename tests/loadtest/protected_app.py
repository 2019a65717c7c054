"""Owns the route that the scenario auth tests, as `examples.showcase` has it."""

import os

from server import App, WebSocket
from server.auth import IsAuthenticated, JWTAuthentication

app = App("protected")
AUTH = JWTAuthentication(os.environ["LOADTEST_JWT_SECRET"], audience="examples.showcase")


@app.websocket("/ws/protected", auth=[AUTH], guards=[IsAuthenticated()])
async def protected(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(f"Welcome, user {websocket.context.get('user_id')}")
    async for text in websocket.iter_text():
        await websocket.send_text(text)

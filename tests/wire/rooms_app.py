"""An app whose rooms are filled from outside: one publisher, members that read or do not."""

from server import App, WebSocket

app = App()


@app.websocket_route("/member")
async def member(ws: WebSocket) -> None:
    await ws.join("crowd")
    await ws.send("joined")
    async for _ in ws:
        pass


@app.websocket_route("/publish")
async def publish(ws: WebSocket, count: int, size: int) -> None:
    """Publish `count` messages of `size` bytes as fast as it goes, numbered from 0."""
    for number in range(count):
        await app.room("crowd").publish(f"{number:08}".ljust(size, "x"))
    await ws.send("done")

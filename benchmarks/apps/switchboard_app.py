"""Owns the Switchboard application under test: one echo route, all settings at their defaults."""

from server import App, WebSocket

app = App()


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    """Send every text back."""
    await ws.accept()
    async for text in ws.iter_text():
        await ws.send_text(text)

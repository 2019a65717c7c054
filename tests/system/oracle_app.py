"""Owns the app of the oracle test: a view that joins, leaves and publishes as its client orders."""

import os

from server import App, WebSocket

KEPT_BRIEFLY = 30
"""Messages that are kept of rooms whose name begins with `brief`."""

app = App()
app.retain("brief-*", messages=KEPT_BRIEFLY)


@app.websocket_route("/oracle", value_type="json", caught_close_codes=all)
async def obey(ws: WebSocket) -> None:
    """Say which process serves, then carry out one order after the other, and say so."""
    await ws.send({"pid": os.getpid()})
    async for order in ws:
        match order:
            case {"join": room, "since": since, "epoch": epoch}:
                joined = await ws.join(room, since=since, epoch=epoch)
                answer = {"joined": room, "epoch": joined.epoch, "offset": joined.offset}
                await ws.send({**answer, "recovered": joined.recovered})
            case {"leave": room}:
                await ws.leave(room)
                await ws.send({"left": room})
            case {"publish": room, "id": id}:
                published = await app.room(room).publish({"room": room, "id": id})
                answer = {"epoch": published.epoch, "offset": published.offset}
                await ws.send({"published": id, "in": room, **answer})

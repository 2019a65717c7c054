"""Owns the picows server under test: a C library and no framework, the practical limit."""

import sys
from collections import defaultdict

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

rooms: defaultdict[bytes, set[WSTransport]] = defaultdict(set)


class Echo(WSListener):
    """Send every text back."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Called by picows for every frame."""
        if frame.msg_type == WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            answer_close(transport, frame)


class Member(WSListener):
    """Send every text to all members."""

    def __init__(self, members: set[WSTransport]) -> None:
        self.members = members

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Called by picows after the handshake."""
        self.members.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Called by picows for every frame."""
        if frame.msg_type == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            for member in self.members:
                member.send(WSMsgType.TEXT, payload)
        elif frame.msg_type == WSMsgType.CLOSE:
            answer_close(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Called by picows at the end."""
        self.members.discard(transport)


def answer_close(transport: WSTransport, frame: WSFrame) -> None:
    """Send the close frame back and end the connection."""
    transport.send_close(frame.get_close_code(), frame.get_close_message())
    transport.disconnect()


def listener(request: WSUpgradeRequest) -> WSListener | None:
    """Answer on /echo and /room/{name} (None is a 404)."""
    if request.path == b"/echo":
        return Echo()
    return Member(rooms[request.path]) if request.path.startswith(b"/room/") else None


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await ws_create_server(listener, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

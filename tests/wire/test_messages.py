"""Messages against real servers: sizes, kinds, encodings, order, segments."""

import pytest

from tests.support.processes import own_bytes, wait_until
from tests.support.raw import (
    Close,
    Op,
    RawClient,
    connect,
    frame,
    handshake_request,
    unique_tag,
)
from tests.wire.app import MAX_MESSAGE_SIZE
from tests.wire.conftest import WireServer

pytestmark = pytest.mark.e2e

MIB = 1 << 20
UNMASKED = bytes(4)  # a mask of zeros leaves the payload as it is

# -- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, MAX_MESSAGE_SIZE])
def test_every_form_of_length(server: WireServer, size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    with connect(server.port, "/bytes") as client:
        client.send_bytes(payload[:size])
        assert client.read_bytes() == payload[:size]


def test_a_message_over_the_limit_is_1009(server: WireServer) -> None:
    with connect(server.port, "/bytes") as client:
        client.send_bytes(bytes(MAX_MESSAGE_SIZE + 1))
        close = client.next_close()
    reason = f"message of {MAX_MESSAGE_SIZE + 1} bytes, limit {MAX_MESSAGE_SIZE}"
    assert close == Close(1009, reason)


def test_the_limit_counts_bytes_and_not_characters(server: WireServer) -> None:
    with connect(server.port, "/echo") as client:
        client.send_text("é" * (MAX_MESSAGE_SIZE // 2))
        assert len(client.read_text()) == MAX_MESSAGE_SIZE // 2
        client.send_text("é" * (MAX_MESSAGE_SIZE // 2) + "!")
        close = client.next_close()
        assert close is not None
        assert close.code == 1009


def test_fragments_together_over_the_limit(server: WireServer) -> None:
    half = bytes(MAX_MESSAGE_SIZE // 2 + 1)
    with connect(server.port, "/bytes") as client:
        client.send(
            frame(Op.BINARY, half, fin=False, mask=UNMASKED)
            + frame(Op.CONTINUATION, half, mask=UNMASKED)
        )
        close = client.next_close()
        assert close is not None
        assert close.code == 1009


@pytest.mark.parametrize("parts", [1, 65])
def test_65_mib_end_with_a_close_frame(server: WireServer, parts: int) -> None:
    """In one frame (over a host's limit for one) and in 65 (over the limit for a message).

    A host may stop reading before the end, so sending may fail; the close frame comes through. The
    memory comes back. Connection.settled sends the close where granian does not.
    """
    before = own_bytes(server.worker)
    chunk = bytes(65 * MIB // parts)
    with connect(server.port, "/bytes") as client:
        try:
            for number in range(parts):
                opcode = Op.CONTINUATION if number else Op.BINARY
                fin = number == parts - 1
                client.send(frame(opcode, chunk, fin=fin, mask=UNMASKED))
        except ConnectionError:
            pass
        close = client.next_close()
    assert close is not None
    assert close.code in (1002, 1009)
    wait_until(
        lambda: own_bytes(server.worker) < before + 40 * MIB, message="the memory comes back"
    )


# -- kinds and encodings -----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/echo", "/json", "/typed"])
def test_a_binary_frame_for_text_is_1003(server: WireServer, path: str) -> None:
    with connect(server.port, path) as client:
        client.send_bytes(b"{}")
        assert client.next_close() == Close(1003, "expected a text frame, got binary")


def test_a_text_frame_for_bytes_is_1003(server: WireServer) -> None:
    with connect(server.port, "/bytes") as client:
        client.send_text("{}")
        assert client.next_close() == Close(1003, "expected a binary frame, got text")


@pytest.mark.parametrize("text", ["", "{", "{]", "nul", '{"a":1}x', "\ufeff{}", "'a'"])
def test_malformed_json_is_1011_on_a_json_route(server: WireServer, text: str) -> None:
    with connect(server.port, "/json") as client:
        client.send_text('{"a":[1,null]}')
        assert client.read_text() == '{"a":[1,null]}'
        client.send_text(text)
        assert client.next_close() == Close(1011)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Input data was truncated"),
        ('{"item":1,"count":1}', "Expected `str`, got `int` - at `$.item`"),
        ('{"item":"a"}', "Object missing required field `count`"),
        ("[]", "Expected `object`, got `array`"),
    ],
)
def test_an_invalid_message_is_1007_on_a_typed_route(
    server: WireServer, text: str, reason: str
) -> None:
    with connect(server.port, "/typed") as client:
        client.send_text('{"item":"a","count":1}')
        assert client.read_text() == '{"item":"a","count":2}'
        client.send_text(text)
        assert client.next_close() == Close(1007, reason)


def test_deeply_nested_json_does_no_harm(server: WireServer) -> None:
    with connect(server.port, "/json") as client:
        client.send_text("[" * 60_000)
        assert client.next_close() == Close(1011)


def test_a_view_that_raises_is_1011(server: WireServer) -> None:
    with connect(server.port, "/raise") as client:
        assert client.next_close() == Close(1011)


# -- order and segments ------------------------------------------------------------------------


def test_a_thousand_messages_in_one_segment_keep_their_order(server: WireServer) -> None:
    texts = [str(number) for number in range(1000)]
    with connect(server.port, "/echo") as client:
        client.send(b"".join(frame(Op.TEXT, text.encode()) for text in texts))
        assert [client.read_text() for _ in texts] == texts


def test_one_byte_at_a_time(server: WireServer) -> None:
    with RawClient(server.port) as client:
        client.send_slowly(handshake_request("/echo"))
        assert client.read_response().status == 101
        client.send_slowly(frame(Op.TEXT, b"slow"))
        assert client.read_text() == "slow"
        client.send_slowly(frame(Op.PING, b"slow"))
        assert client.read_pong() == b"slow"


def test_messages_behind_the_handshake_in_its_segment(granian: WireServer) -> None:
    """uvicorn loses them, so this is granian's alone."""
    tag = unique_tag()
    first = frame(Op.TEXT, b"first") + frame(Op.PING, b"second")
    with RawClient(granian.port) as client:
        assert client.handshake(f"/echo?tag={tag}", then=first).status == 101
        got = {str(client.read_frame().payload) for _ in range(2)}
        assert "first" in got
        client.send_text("third")
        assert client.read_text() == "third"
    assert granian.end(tag)["received"] == 2

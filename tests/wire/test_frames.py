"""Legal and illegal frames against real servers: RFC 6455 sections 5 and 7."""

import pytest
from wsproto.frame_protocol import Opcode

from tests.support.raw import (
    Close,
    Op,
    close_payload,
    connect,
    fragments,
    frame,
    payload_bytes,
    unique_tag,
)
from tests.wire.conftest import WireServer

pytestmark = pytest.mark.e2e

# -- fragments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 100])
@pytest.mark.parametrize("opcode", [Op.TEXT, Op.BINARY])
def test_fragments_become_one_message(server: WireServer, opcode: Op, count: int) -> None:
    parts = [f"{number} ".encode() for number in range(count)]
    with connect(server.port, "/any") as client:
        client.send(fragments(opcode, parts))
        got = client.read_text().encode() if opcode is Op.TEXT else client.read_bytes()
    assert got == b"".join(parts)


def test_a_character_may_be_split_between_fragments(server: WireServer) -> None:
    with connect(server.port, "/echo") as client:
        client.send(fragments(Op.TEXT, [b"\xe2", b"\x82", b"\xac"]))
        assert client.read_text() == "€"


def test_empty_fragments_and_messages(server: WireServer) -> None:
    with connect(server.port, "/echo") as client:
        client.send(fragments(Op.TEXT, [b"", b"", b"a", b""]))
        assert client.read_text() == "a"
        client.send_frame(Op.TEXT)
        assert client.read_text() == ""


def test_control_frames_between_fragments(server: WireServer) -> None:
    """Each ping is answered, in order; an unasked pong is nothing."""
    between = [frame(Op.PING, b"one"), frame(Op.PONG, b"unasked"), frame(Op.PING, b"two")]
    with connect(server.port, "/echo") as client:
        client.send(fragments(Op.TEXT, [b"be", b"fore"], between))
        got = [client.read_frame() for _ in range(3)]
    pongs = [payload_bytes(each) for each in got if each.opcode is Opcode.PONG]
    texts = [each.payload for each in got if each.opcode is Opcode.TEXT]
    assert (pongs, texts) == ([b"one", b"two"], ["before"])


def test_a_ping_is_answered_while_a_message_is_incomplete(server: WireServer) -> None:
    with connect(server.port, "/echo") as client:
        client.send_frame(Op.TEXT, b"be", fin=False)
        client.ping(b"now")
        assert client.read_pong() == b"now"
        client.send_frame(Op.CONTINUATION, b"fore")
        assert client.read_text() == "before"


def test_pings_are_answered_while_the_view_is_busy(server: WireServer) -> None:
    """Design fact 8: a receive is armed at all times, so the host answers."""
    tag = unique_tag()
    with connect(server.port, f"/busy?tag={tag}") as client:
        assert client.read_text() == "busy"
        for payload in (b"", b"one", b"x" * 125):
            client.ping(payload)
            assert client.read_pong() == payload
        server.ask(f"/wake/{tag}")
        assert client.read_text() == "awake"
        assert client.next_close() == Close(1000)


def test_a_busy_view_reads_what_came_meanwhile(server: WireServer) -> None:
    """A message behind which the host stops reading is not lost, nor is the ping behind it."""
    tag = unique_tag()
    with connect(server.port, f"/busy?tag={tag}") as client:
        assert client.read_text() == "busy"
        client.send_text("unread")
        client.ping(b"behind it")
        server.ask(f"/wake/{tag}")
        assert client.read_frame().opcode in (Opcode.TEXT, Opcode.PONG)
        assert client.next_close() == Close(1000)


# -- faults ------------------------------------------------------------------------------------

FAULTS = {
    "invalid UTF-8": frame(Op.TEXT, b"\xff\xfe"),
    "UTF-8 invalid across fragments": fragments(Op.TEXT, [b"a\xc3", b"\x28"]),
    "UTF-8 cut off": frame(Op.TEXT, b"\xe2\x82"),
    "a surrogate in UTF-8": frame(Op.TEXT, b"\xed\xa0\x80"),
    "RSV1": frame(Op.TEXT, b"a", rsv=4),
    "RSV2": frame(Op.TEXT, b"a", rsv=2),
    "RSV3": frame(Op.PING, b"a", rsv=1),
    "opcode 3": frame(3, b"a"),
    "opcode 7": frame(7, b"a"),
    "opcode 11": frame(11, b"a"),
    "opcode 15": frame(15),
    "no mask": frame(Op.TEXT, b"a", masked=False),
    "no mask on a ping": frame(Op.PING, b"a", masked=False),
    "continuation without a start": frame(Op.CONTINUATION, b"a"),
    "a start inside a message": frame(Op.TEXT, b"a", fin=False) + frame(Op.TEXT, b"b"),
    "oversized ping": frame(Op.PING, b"a" * 126),
    "oversized close": frame(Op.CLOSE, close_payload(1000, b"r" * 124)),
    "fragmented ping": frame(Op.PING, b"a", fin=False),
    "close with 1 byte": frame(Op.CLOSE, b"a"),
    "close with invalid UTF-8": frame(Op.CLOSE, close_payload(1000, b"\xff")),
    **{f"close {code}": frame(Op.CLOSE, close_payload(code)) for code in (0, 999, 1004)},
    **{f"close {code}": frame(Op.CLOSE, close_payload(code)) for code in (1005, 1006, 1015)},
    **{f"close {code}": frame(Op.CLOSE, close_payload(code)) for code in (1016, 2999, 5000)},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_protocol_fault_is_answered_with_a_close_frame(server: WireServer, fault: str) -> None:
    """granian does not say which fault it was, so it is always 1002 there."""
    tag = unique_tag()
    with connect(server.port, f"/echo?tag={tag}") as client:
        client.send(FAULTS[fault])
        close = client.next_close()
        assert client.wait_end() == "end"
    is_about_text = "UTF-8" in fault and server.name != "granian"
    assert close is not None
    assert close.code == (1007 if is_about_text else 1002)
    assert server.end(tag)["code"] in (close.code, 1005)


def test_a_message_before_a_fault_reaches_the_view(granian: WireServer) -> None:
    """Its answer need not reach the peer: the host has seen the fault before the view runs.
    uvicorn drops the message.
    """
    tag = unique_tag()
    with connect(granian.port, f"/echo?tag={tag}") as client:
        client.send(frame(Op.TEXT, b"legal") + frame(Op.TEXT, b"a", rsv=4))
        assert client.next_close() is not None
    assert granian.end(tag)["received"] == 1


def test_a_length_that_no_machine_can_hold(server: WireServer) -> None:
    """The frame is refused by its header; nothing waits for the rest."""
    for length in (1 << 40, 1 << 63):
        with connect(server.port, "/echo") as client:
            client.send(frame(Op.BINARY, length=length))
            close = client.next_close()
            assert close is not None
            assert close.code in (1002, 1009)


# -- close frames ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 3000, 4999])
def test_a_close_is_answered_with_its_code(server: WireServer, code: int) -> None:
    tag = unique_tag()
    with connect(server.port, f"/echo?tag={tag}") as client:
        assert client.close(code) == Close(code)
        assert client.wait_end() == "end"
    assert server.end(tag)["code"] == code


def test_a_close_without_a_code(server: WireServer) -> None:
    tag = unique_tag()
    with connect(server.port, f"/echo?tag={tag}") as client:
        assert client.close(None) == Close(1005)
        assert client.wait_end() == "end"
    assert server.end(tag)["code"] == 1005


def test_the_longest_reason(server: WireServer) -> None:
    reason = "é" * 61 + "!"
    with connect(server.port, "/echo") as client:
        assert client.close(4000, reason) == Close(4000, reason)


def test_what_comes_after_a_close_is_ignored(server: WireServer) -> None:
    """What came before it reaches the view; the answer need not reach the peer (RFC 6455 1.4)."""
    tag = unique_tag()
    with connect(server.port, f"/echo?tag={tag}") as client:
        close = frame(Op.CLOSE, close_payload(1000))
        client.send(frame(Op.TEXT, b"before") + close + frame(Op.TEXT, b"after") + close)
        assert client.next_close() == Close(1000)
        client.wait_end()
    assert server.end(tag) == {"code": 1000, "received": 1}


def test_a_close_in_the_middle_of_a_message(server: WireServer) -> None:
    """RFC 6455 section 5.4 lets control frames stand there; uvicorn answers 1002."""
    tag = unique_tag()
    with connect(server.port, f"/echo?tag={tag}") as client:
        client.send_frame(Op.TEXT, b"unfinished", fin=False)
        close = client.close(1001)
        assert close is not None
        assert close.code in (1001, 1002)
    assert server.end(tag) == {"code": close.code, "received": 0}

"""Frames of all kinds: each has its answer, and the connection the fate that is documented."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.realtime import errors, frames
from tests.realtime.app import make_app
from tests.realtime.support import JSON, MSGPACK, Closed, Host, InProcess, Peer

ROOMS = st.sampled_from(["a", "b", "secret", "quiet-a", "", "\0a", "x" * 300, "é"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**65)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.integers(-3, 3), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = ("id", "room", "since", "epoch", "limit", "data")
FRAMES = st.fixed_dictionaries(
    {"type": st.sampled_from([*frames.FROM_CLIENT, "connected", "message", ""])},
    optional={
        "id": st.integers(0, 9) | st.sampled_from([-1, 2**53, "1", None]),
        "room": ROOMS | SCALARS,
        "since": st.integers(0, 5) | SCALARS,
        "epoch": st.sampled_from(["0", "1f", "none", ""]) | SCALARS,
        "limit": st.integers(-1, 1001) | SCALARS,
        "data": VALUES,
        "extra": SCALARS,
    },
)
WELL_MADE = st.builds(
    lambda type_, fields: {
        "type": type_,
        **{name: fields[name] for name in fields if name in _fields(type_)},
    },
    st.sampled_from([*frames.FROM_CLIENT]),
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 9),
            "room": ROOMS,
            "data": VALUES,
            "since": st.none() | st.integers(0, 5),
            "epoch": st.none() | st.sampled_from(["0", "none"]),
            "limit": st.none() | st.integers(1, 5),
        }
    ),
)
BYTES = st.binary(max_size=40)


def _fields(type_: str) -> set[str]:
    return set(frames.FROM_CLIENT[type_].__struct_fields__)


def _is_no_connect(frame: Any) -> bool:
    return not isinstance(frame, dict) or frame.get("type") != "connect"


def payload(frame: Any, subprotocol: str) -> str | bytes:
    """Encode a frame, as far as that is possible: what is not is sent as it is written."""
    if isinstance(frame, bytes):
        return frame.decode("latin-1") if subprotocol == JSON else frame
    try:
        if subprotocol == JSON:
            return json.dumps(frame, default=lambda value: value.hex())
        return msgspec.msgpack.encode(frame)
    except (TypeError, OverflowError):
        return "{}" if subprotocol == JSON else b"\x80"


def check_answer(frame: dict[str, Any]) -> None:
    """A frame of the server is one of those documented, with the fields documented."""
    kind = frames.FROM_SERVER[frame["type"]]
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    assert frame.keys() - {"type"} <= fields.keys()
    assert {name for name, field in fields.items() if field.required} <= frame.keys()
    if frame["type"] == "error":
        assert frame["code"] in errors.ERRORS
        assert frame["retry"] is errors.ERRORS[frame["code"]][0]
        assert len(frame["message"]) <= 200


async def play(subprotocol: str, sent: list[Any], connects: bool) -> None:
    app = make_app()
    host = Host(lambda path, offers: InProcess.open(app, path, offers), subprotocol)
    peer = await host.peer("/guarded")
    if connects:
        check_answer(await peer.ask("connect"))
    for frame in sent:
        await peer.link.send(payload(frame, subprotocol))
    await (_is_answered(peer, len(sent)) if connects else _is_closed(peer))
    await host.close()
    assert not app.runtime.running


async def _is_answered(peer: Peer, count: int) -> None:
    """There is one answer for each frame, and the connection is there after that."""
    await peer.link.send(payload({"type": "ping", "id": 4711}, peer.subprotocol))
    answers = 0
    while (answer := await peer.receive()).get("id") != 4711:
        check_answer(answer)
        answers += answer["type"] not in ("message", "member_joined", "member_left")
    assert answers == count


async def _is_closed(peer: Peer) -> None:
    """There is one error, and then the end."""
    answer = await peer.receive()
    check_answer(answer)
    assert answer["type"] == "error"
    with pytest.raises(Closed) as closed:
        await peer.receive()
    assert closed.value.code == 4501


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
@settings(max_examples=150, deadline=None)
@given(sent=st.lists(FRAMES | WELL_MADE | VALUES | BYTES, min_size=1, max_size=8))
def test_after_connect_every_frame_is_answered(subprotocol: str, sent: list[Any]) -> None:
    asyncio.run(play(subprotocol, sent, connects=True))


@pytest.mark.parametrize("subprotocol", [JSON, MSGPACK])
@settings(max_examples=50, deadline=None)
@given(sent=(FRAMES | VALUES | BYTES).filter(_is_no_connect))
def test_before_connect_every_frame_closes(subprotocol: str, sent: Any) -> None:
    asyncio.run(play(subprotocol, [sent], connects=False))

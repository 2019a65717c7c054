"""What granian does that our code relies on: one test a fact, against a bare ASGI app.

The numbers are those of the list in docs/topics/host.md. A test that fails here after an upgrade
of granian says which code of ours to look at again.
"""

import json
import os
import signal
import time
from typing import Any

import pytest

from tests.host.app import MESSAGES
from tests.host.conftest import bare_granian
from tests.support.processes import children, is_alive, is_held, wait_until
from tests.support.raw import (
    Close,
    Op,
    RawClient,
    connect,
    get,
    handshake_request,
    unique_tag,
)
from tests.support.servers import Server

pytestmark = pytest.mark.e2e
SILENCE_S = 0.3


class Probe:
    """One connection to one probe of the bare app."""

    def __init__(self, server: Server, name: str, **options: Any) -> None:
        self.server = server
        self.tag = unique_tag()
        self.path = f"/{name}?{self.tag}"
        self.client = connect(server.port, self.path, **options)

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, *exception: object) -> None:
        self.client.drop()

    def wake(self) -> None:
        get(self.server.port, f"/wake?{self.tag}")

    def result(self) -> Any:
        """What the probe found out, when it has returned."""
        return result(self.server, self.tag)


def result(server: Server, tag: str) -> Any:
    def found() -> Any:
        answer = json.loads(get(server.port, f"/result?{tag}").body)
        return answer if answer.get("returned") else None

    return wait_until(found, message="the probe did not return")


def assert_silent(client: RawClient) -> None:
    with pytest.raises(TimeoutError):
        client.read_frame(SILENCE_S)


def test_fact_1_a_send_starts_when_it_is_called(host: Server) -> None:
    """'`send(event)` starts at once when called, before it is awaited.'

    outbox.PipelinedOutbox does not await sends; it keeps what `send` returns, and needs `done`,
    `cancel` and `add_done_callback` of it. transport.is_eager tells granian by the first two, and
    the type of what accepting returned tells a send that was started from one that was not.
    """
    with Probe(host, "unawaited") as probe:
        assert probe.client.read_text() == "not awaited"
        probe.client.send_text("got it")
        found = probe.result()
    assert found["methods"] == ["done", "cancel", "result", "add_done_callback"]
    assert found["done"]
    assert found["same type"]


def test_fact_1_sends_started_one_after_the_other_keep_their_order(host: Server) -> None:
    """'Un-awaited sends on one connection keep their order' holds for `--runtime-mode st` alone.

    With mt, which workers/granian.py asks for, two that are under way together may go out in the
    other order (seen here within the first hundred of 10,000). So outbox.PipelinedOutbox starts
    the next from the callback of the one before, and that callback comes for each.
    """
    with Probe(host, "chain") as probe:
        assert [int(probe.client.read_text()) for _ in range(MESSAGES)] == list(range(MESSAGES))
        probe.client.send_text("got them")
        assert probe.result()["started"] == MESSAGES


def test_fact_2_one_event_goes_to_many(host: Server) -> None:
    """'One event dict can be sent to every recipient.'

    rooms.Rooms.deliver makes one event a message, not one a member.
    """
    probes = [Probe(host, "share") for _ in range(5)]
    try:
        probes[0].client.send_text("go")
        assert [probe.client.read_text() for probe in probes] == ["the same"] * 5
        probes[0].client.drop()
        assert probes[0].result()["unchanged"]
    finally:
        for probe in probes:
            probe.client.drop()


def test_fact_3_a_close_waits_for_a_pending_receive(host: Server) -> None:
    """'`websocket.close` while a `receive()` is pending hangs for ever and the client sees
    nothing. Cancel the pending receive first; then close works at once.'

    Connection._shut cancels the armed receive before it closes.
    """
    with Probe(host, "close_while_receiving") as probe:
        assert_silent(probe.client)
        probe.wake()
        assert probe.client.next_close() == Close(4001, "by the probe")
        found = probe.result()
    assert not found["closed before"]
    assert found["closed after"]


def test_fact_4_sigterm_sends_no_close_frame() -> None:
    """'SIGTERM drops sockets with no close frame.'

    Why the supervisor has to drain before it stops granian.
    """
    with bare_granian() as server, connect(server.port, "/no_receive") as client:
        server.process.send_signal(signal.SIGTERM)
        assert client.next_close() is None


@pytest.mark.parametrize("fault", ["bare close", "close with a reason", "lost", "protocol error"])
def test_fact_5_how_the_peer_left_is_not_told(host: Server, fault: str) -> None:
    """'A bare close and a lost connection both reach the app as 1005, never 1006, with no reason.
    After such an event a close frame can still be sent, and reaches the peer if the fault was a
    protocol error.'

    Connection.settled answers 1005 with a close frame of 1002; Connection.close_code documents it.
    """
    with Probe(host, "disconnect") as probe:
        client = probe.client
        if fault == "bare close":
            client.send_frame(Op.CLOSE)
            assert client.next_close() == Close(1005)
        elif fault == "close with a reason":
            assert client.close(4000, "why") == Close(4000, "why")
        elif fault == "lost":
            client.drop()
        else:
            client.send_frame(Op.TEXT, b"\xff")
            assert client.next_close() == Close(1002, "by the probe")
        found = probe.result()
    code = 4000 if fault == "close with a reason" else 1005
    assert found["event"] == {"type": "websocket.disconnect", "code": code}


def test_a_send_after_the_end_is_swallowed(host: Server) -> None:
    """A send on a closed transport returns an awaitable of another type: no `done`, gives None.

    PipelinedOutbox.offer takes the other type for a lost peer; awaiting it would tell nothing.
    """
    with Probe(host, "disconnect") as left:
        left.client.drop()
        after_disconnect = left.result()
    with Probe(host, "send_after_close") as closed:
        assert closed.client.next_close() == Close(1000, "by the probe")
        after_close = closed.result()
    for found in (after_disconnect, after_close):
        assert not found["late has done"]
        assert found["late gives"] is None


def test_fact_6_accept_headers_are_dropped(host: Server) -> None:
    """'`websocket.accept` headers are dropped; only the subprotocol is used, and it is not checked
    against the request.'

    Connection.accept warns about the one, Handshake.check_subprotocol checks the other.
    """
    with RawClient(host.port) as client:
        response = client.handshake("/accept_with_headers")
    assert response.status == 101
    assert "x-probe" not in response.headers
    assert response.headers["sec-websocket-protocol"] == "not-offered"


def test_fact_7_an_exception_closes_without_a_code(host: Server) -> None:
    """'A handler that raises leaves the client with 1005.'

    pipeline.serve_connection sends 1011 before it lets an exception out.
    """
    with Probe(host, "fail") as probe:
        assert probe.client.next_close() == Close(1005)


def test_fact_8_pings_are_answered_only_while_receiving(host: Server) -> None:
    """'Pings are answered only while a `receive()` is pending.'

    inbox.Inbox arms the next receive before it hands out an event.
    """
    with Probe(host, "no_receive") as probe:
        probe.client.ping(b"are you there")
        assert_silent(probe.client)
        probe.wake()
        assert probe.client.read_pong() == b"are you there"


def test_fact_10_a_wrong_type_sends_an_empty_frame(host: Server) -> None:
    """'`send` with the wrong Python type sends an empty frame.'

    WebSocket.send_text and send_bytes check types.
    """
    with Probe(host, "wrong_type") as probe:
        assert probe.client.read_text() == ""
        assert probe.client.read_bytes() == b""


def test_fact_11_a_close_before_accept_is_403_at_the_end(host: Server) -> None:
    """'Refusing before accept is HTTP 403, sent when the app callable returns.'

    pipeline.refuse_unknown_path and Connection.deny return right after it.
    """
    tag = unique_tag()
    with RawClient(host.port) as client:
        client.send(handshake_request(f"/close_unaccepted?{tag}"))
        wait_until(lambda: b"closed" in get(host.port, f"/result?{tag}").body)
        with pytest.raises(TimeoutError):
            client._receive(time.monotonic() + SILENCE_S)
        get(host.port, f"/wake?{tag}")
        assert client.read_response().status == 403


def test_fact_11_a_refusal_may_have_any_status(host: Server) -> None:
    """'`websocket.http.response` allows any status with one body.'

    Connection.deny uses it when the scope has the extension. The headers of the 101 that was not
    sent stay in the answer, beside ours.
    """
    tag = unique_tag()
    with RawClient(host.port) as client:
        response = client.handshake(f"/deny?{tag}")
    assert (response.status, response.body) == (429, b"slowly")
    assert response.headers["retry-after"] == "3"
    assert response.headers["upgrade"] == "websocket"
    assert result(host, tag)["extension"]


def test_fact_13_backpressure_does_not_cap_websockets(host: Server) -> None:
    """'`--backpressure` does not cap WebSockets.'

    Why admission is the app's, and workers/granian.py may set it as high as the backlog.
    """
    clients = [connect(host.port, "/look") for _ in range(12)]  # the limit of this server is 8
    for client in clients:
        client.drop()


def test_fact_17_a_peer_that_does_not_read(host: Server) -> None:
    """'Un-awaited sends stay not `done()`. Cancel the pending sends first, then close with a
    timeout, then return: the descriptor is released at once.'

    Connection._shut and PipelinedOutbox.close do this in this order; `done` is how
    PipelinedOutbox.offer knows that the window is full.
    """
    with Probe(host, "stall", receive_buffer=4096) as probe:
        found = probe.result()
        assert 0 < found["not done"] < 128
        wait_until(lambda: not is_held(host.port, probe.client.port), message="released")


def test_fact_17_returning_alone_keeps_the_descriptor(host: Server) -> None:
    """'If the handler just returns the descriptor and buffers stay until the peer acts.'

    Why Connection.settled abandons what was not sent.
    """
    with Probe(host, "leave_stalled", receive_buffer=4096) as probe:
        assert probe.result()
        time.sleep(SILENCE_S)
        assert is_held(host.port, probe.client.port)
    wait_until(lambda: not is_held(host.port, probe.client.port), message="the peer has gone")


def test_fact_18_a_cancelled_receive_lets_a_close_through(host: Server) -> None:
    """'A pre-armed `receive()` can be cancelled with its own `.cancel()` and a close sent right
    after reaches the client in under a millisecond.'

    Connection._shut. Only to be used when the connection ends: a receive that is cancelled while
    messages flow may take one of them along.
    """
    with Probe(host, "cancel_then_close") as probe:
        probe.wake()
        assert probe.client.next_close() == Close(4002, "by the probe")
        assert probe.result()["seconds"] < 0.5  # far from the time-outs of a hanging close


def test_an_awaitable_wakes_one_waiter(host: Server) -> None:
    """A second `add_done_callback` takes the place of the first.

    inbox.Inbox allows one receiver; PipelinedOutbox.put has a lock around the wait.
    """
    with Probe(host, "callbacks") as probe:
        assert probe.client.read_text() == "ready"
        probe.client.send_text("done")
        probe.client.ping()
        assert_silent(probe.client)  # no receive is pending any more
        probe.wake()
        assert probe.result() == {"done": True, "called": ["second"], "returned": True}


def test_a_callback_comes_in_the_loop_and_never_inside_a_call(host: Server) -> None:
    """Not from `add_done_callback` on what is done, nor from `cancel`: no task runs when it comes.

    Arrival.wake has a task go on in such a callback, and asyncio allows none inside another.
    """
    with Probe(host, "called_back") as probe:
        assert probe.client.read_text() == "ready"
        found = probe.result()
    assert found["at once"] == []
    assert found["later"] == ["cancelled in the loop", "done in the loop"]


def test_handshakes_are_hardly_checked(host: Server) -> None:
    """Neither method nor Host nor key nor HTTP version is looked at, and the scope has no method.

    handshake.handshake_problem refuses what it can see; a POST it cannot. Handshake.client turns
    the port, which is text, into a number.
    """
    tag = unique_tag()
    request = handshake_request(
        f"/look?{tag}", ["Host: a b", "Sec-WebSocket-Key: short"], method="POST"
    )
    with RawClient(host.port) as client:
        assert client.request(request.replace(b"HTTP/1.1", b"HTTP/1.0")).status == 101
    found = result(host, tag)
    assert found["method"] is None
    assert found["port type"] == "str"


def test_fact_19_workers_stay_in_the_group_and_outlive_their_parent() -> None:
    """'Ctrl-C reaches the workers too. If the supervisor dies, workers must notice.'

    workers.granian.leave_terminal takes a worker out of the terminal's group and has the kernel
    tell it of its parent's death.
    """
    with bare_granian() as server:
        (worker,) = children(server.process.pid)
        try:
            assert os.getpgid(worker) == os.getpgid(server.process.pid)
            server.stop(signal.SIGKILL)
            time.sleep(SILENCE_S)
            assert is_alive(worker)
            assert get(server.port, "/pid").status == 200
        finally:
            os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not is_alive(worker))

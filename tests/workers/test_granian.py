"""What workers.granian does to a worker process before the app is loaded."""

import asyncio
import logging.config
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest
import uvloop

from workers.granian import STOP_SIGNALS, ASGIApp, keep_stop_signals, load_in_worker, log_config


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A uvloop loop; signal handlers are put back afterwards."""
    before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGUSR1)}
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def signal_while_it_stands(loop: asyncio.AbstractEventLoop, number: signal.Signals) -> bool:
    """Signal this process between two runs of the loop; tell whether the second one sees it."""
    got = asyncio.Event()
    loop.add_signal_handler(number, got.set)
    loop.run_until_complete(asyncio.sleep(0))
    os.kill(os.getpid(), number)

    async def wait() -> bool:
        try:
            await asyncio.wait_for(got.wait(), 0.2)
        except TimeoutError:
            return False
        return True

    return loop.run_until_complete(wait())


def test_uvloop_keeps_a_signal_that_comes_while_it_stands(loop: asyncio.AbstractEventLoop) -> None:
    """The reason for keep_stop_signals: if this fails, uvloop has changed and it can go."""
    assert not signal_while_it_stands(loop, signal.SIGTERM)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_stop_signal_is_seen_whenever_it_comes(
    loop: asyncio.AbstractEventLoop, number: signal.Signals
) -> None:
    keep_stop_signals(loop)
    assert signal_while_it_stands(loop, number)


def test_a_stop_signal_is_seen_while_the_loop_runs(loop: asyncio.AbstractEventLoop) -> None:
    keep_stop_signals(loop)

    async def wait() -> str:
        told: asyncio.Future[str] = loop.create_future()
        loop.add_signal_handler(signal.SIGTERM, told.set_result, "argument")
        loop.call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
        return await asyncio.wait_for(told, 5)

    assert loop.run_until_complete(wait()) == "argument"


def test_other_signals_are_left_to_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    keep_stop_signals(loop)
    assert not signal_while_it_stands(loop, signal.SIGUSR1)


def _report(supervisor: int, sender: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what a worker inherits does not count
    asyncio.set_event_loop(uvloop.new_event_loop())

    def load() -> ASGIApp:
        sender.send((signal.getsignal(signal.SIGTERM), os.getpgid(0) == os.getpid()))
        return print

    load_in_worker(load, supervisor)


@pytest.mark.parametrize("lives", [True, False])
def test_a_worker_is_its_own_group_and_ends_with_its_supervisor(lives: bool) -> None:
    """Also when the supervisor was gone before the worker could ask to be told of it."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    supervisor = os.getpid() if lives else 0
    process = context.Process(target=_report, args=(supervisor, sender))
    process.start()
    sender.close()
    if lives:
        assert receiver.recv() == (signal.SIG_DFL, True)
    else:
        with pytest.raises(EOFError):
            receiver.recv()
    process.join(10)
    assert process.exitcode == (0 if lives else -signal.SIGTERM)


@pytest.mark.parametrize(("level", "of_lost_peers"), [("info", "WARNING"), ("debug", "DEBUG")])
def test_each_lost_peer_is_a_line_only_when_debugging(level: str, of_lost_peers: str) -> None:
    config = log_config(level)
    logging.config.DictConfigurator(config)
    loggers = config["loggers"]
    assert loggers["_granian.asgi.io"]["level"] == of_lost_peers
    assert {loggers[name]["level"] for name in ("_granian", "switchboard")} == {level.upper()}

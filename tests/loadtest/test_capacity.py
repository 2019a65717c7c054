"""Owns the proof that the search finds what is carried, and says it without claiming more."""

from collections.abc import Callable

import msgspec
import pytest

from loadtest import slo
from loadtest.capacity import Climb, Step, climb, find, sentence, what_was_used_up
from loadtest.results import Limit, Run, WorkerUse
from tests.loadtest import runs

LIMITS = slo.load_limits(slo.DEFAULT_FILE, "room")


def _run(users: int, *, p99_ms: float = 9.0, generator: Limit | None = None) -> Run:
    samples = [
        runs.sample(at_s, wanted=users, connections=users, sent_per_s=users, received_per_s=users)
        for at_s in range(5)
    ]
    totals = runs.totals(rtt=runs.latency(p99_ms), delivery=runs.latency(p99_ms))
    return runs.run(samples=samples, of=totals, generator_limit=generator)


def _machine(
    carries: int, generator_carries: int = 10**9, tried: list[int] | None = None
) -> Callable[[int], Step]:
    """Return a try on a machine that is too slow from then on."""

    def attempt(users: int) -> Step:
        if tried is not None:
            tried.append(users)
        generator: Limit | None = "generator CPU" if users > generator_carries else None
        run = _run(users, p99_ms=9.0 if users <= carries else 241.0, generator=generator)
        return Step(users, run, slo.judge(run, LIMITS), generator or "server CPU")

    return attempt


def _users(step: Step | None) -> int | None:
    return step.users if step is not None else None


@pytest.mark.parametrize("carries", [1, 10, 17, 249, 250, 251, 999, 3456, 29_999])
def test_climb(carries: int):
    """It ends close below what is carried, and has seen it break close above."""
    found = climb(_machine(carries), 250, 30_000)

    assert found.broken is not None
    if found.best is None:
        assert carries < 20
    else:
        assert found.best.users <= carries < found.broken.users
        assert found.broken.users <= 1.2 * found.best.users + 1


def test_steps_of_a_climb():
    """It doubles, and then halves the distance; few runs are enough."""
    tried: list[int] = []
    climb(_machine(1500, tried=tried), 250, 30_000)
    assert tried == [250, 500, 1000, 2000, 1400, 1700, 1500]


def test_the_end_of_a_climb():
    """No more are tried than there may be."""
    tried: list[int] = []
    found = climb(_machine(10**9, tried=tried), 250, 900)

    assert tried == [250, 500, 900]
    assert (_users(found.best), found.broken) == (900, None)
    # Then the second time is one run.
    tried.clear()
    find(_machine(10**9, tried=tried), 900, 900)
    assert tried == [900, 900]


def test_twice():
    """The second climb begins just below, and may find less: that counts."""
    tried: list[int] = []
    machine = _machine(1500, tried=tried)

    def worse_and_worse(users: int) -> Step:
        return machine(users) if len(tried) < 7 else _machine(1200, tried=tried)(users)

    climbs = find(worse_and_worse, 250, 30_000)

    assert tried[7:] == [1100, 2200, 1600, 1300, 1200]
    assert [_users(one.best) for one in climbs] == [1500, 1200]
    assert sentence(climbs) == (
        "this machine carries 1,200 connections at 2,400 messages a second within p99 9 ms; "
        "first limit reached: server CPU"
    )


def test_the_generator_was_the_limit():
    """Then it is not called the capacity of the server."""
    climbs = find(_machine(10**9, generator_carries=700), 250, 30_000)
    assert sentence(climbs) == (
        "the generator was the limit (generator CPU) at 710 connections, so this is not the "
        "server's capacity: it carries at least 650 connections at 1,300 messages a second "
        "within p99 9 ms"
    )


def test_the_generator_was_the_limit_from_the_start():
    """Nothing is known then."""
    climbs = find(_machine(10**9, generator_carries=0), 100, 30_000)
    assert sentence(climbs) == (
        "the generator was the limit (generator CPU) at 12 connections already, "
        "so nothing is known of the server"
    )


def test_nothing_is_carried():
    """The sentence of the limit says why."""
    climbs = find(_machine(0), 20, 30_000)
    assert sentence(climbs) == (
        "not even 10 connections are carried within the limits: "
        "rtt p99 was 241 ms, the limit is 100 ms; delivery p99 was 241 ms, the limit is 100 ms"
    )


def test_no_limit_was_reached():
    """There may be more."""
    climbs = find(_machine(10**9), 250, 900)
    assert sentence(climbs) == (
        "this machine carries at least 900 connections at 1,800 messages a second within "
        "p99 9 ms; no limit was reached, try more"
    )


def test_the_generator_cannot_try_more():
    """It was its own files that ran out."""
    climbs = find(_machine(10**9), 250, 900)
    assert sentence(climbs, "file limit").startswith(
        "the generator was the limit (file limit) at 900 connections, so this is not the server's "
        "capacity: it carries at least 900 connections"
    )


def _using(worker_cpu: float, generator_cpu: float, files_share: float = 0.1) -> Run:
    use = WorkerUse(
        worker="0",
        cpu_cores=worker_cpu,
        resident_mib=1,
        connections=1,
        files_share=files_share,
    )
    samples = [runs.sample(20, server=[use], generator_cpu=generator_cpu)]
    return runs.run(samples=samples)


def _coming(worker_cpu: float, generator_cpu: float) -> Run:
    """Busy while users come, and not when all are there."""
    quiet = _using(0.4, 0.4)
    (busy,) = _using(worker_cpu, generator_cpu).samples
    first = msgspec.structs.replace(busy, at_s=3, connections=1)
    return runs.changed(quiet, samples=[first, *quiet.samples])


def _failing(how: str) -> Run:
    return runs.changed(_using(0.5, 0.5), totals=runs.totals(failures={how: 3}))


@pytest.mark.parametrize(
    ("run", "limit"),
    [
        (runs.changed(_using(0.99, 0.99), generator_limit="ports"), "ports"),
        (_using(0.95, 0.5), "server CPU"),
        (_using(0.5, 0.95), "generator CPU"),
        (_using(0.85, 0.8), "none"),
        (_using(0.5, 0.5), "none"),
        (_coming(0.9, 0.8), "none"),
        (_coming(1.3, 0.6), "server CPU"),
        (_using(0.5, 0.5, files_share=0.98), "file limit"),
        (_failing("Too many open files"), "file limit"),
        (_failing("Cannot assign requested address"), "ports"),
    ],
)
def test_what_was_used_up(run: Run, limit: Limit):
    """Whoever was at the end of what there is."""
    assert what_was_used_up(run, least_free=0.5, cores=2) == limit


def test_all_cores_together():
    """Nobody had a whole core, but there was none left."""
    assert what_was_used_up(_using(0.89, 0.85), 0.5, cores=1) == "server CPU"
    assert what_was_used_up(_using(0.5, 0.6), 0.5, cores=1) == "generator CPU"


def test_memory():
    """What is nearly full is the limit, also if it was only for a moment."""
    assert what_was_used_up(_using(0.5, 0.5), 0.03, 2) == "memory"


def test_others_were_busy():
    """If nothing of ours was at its end, and others used the machine, that is told."""
    run = _run(500, p99_ms=241.0)
    run = runs.changed(run, notes=("other programs used 1.2 of this machine's 2 cores",))
    slow = Step(500, run, slo.judge(run, LIMITS), "none")
    fast = _machine(300)(300)

    text = sentence([Climb(fast, slow), Climb(fast, slow)])
    assert text.endswith(
        "; first limit reached: nothing of the machine's, but rtt p99 was 241 ms, the limit is "
        "100 ms; other programs used 1.2 of this machine's 2 cores"
    )

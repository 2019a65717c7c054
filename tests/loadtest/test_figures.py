"""Owns the proof that a run is summed up from the seconds in which all were connected."""

from loadtest.figures import steady, sum_up
from tests.loadtest import runs


def test_figures():
    """The ramp does not count; the memory of all workers is added up."""
    few = sum_up(runs.run(seconds=30))

    assert few.connections == few.peak == 500
    assert (few.sent_per_s, few.received_per_s, few.messages_per_s) == (1000, 3000, 4000)
    assert few.steady_s == 19
    assert few.generator_cpu == 500 / 800
    assert few.worker_cpu == 0.55
    assert few.server_cpu == 1.05
    assert few.server_mib == 90


def test_fewer_than_wanted():
    """If not all ever came, the seconds with the most count."""
    few = sum_up(runs.run(samples=[runs.sample(at_s, wanted=900) for at_s in range(30)]))
    assert few.connections == 500
    assert few.steady_s == 19


def test_what_was_held_is_the_least():
    """Nobody held those who left for a second."""
    samples = [runs.sample(at_s) for at_s in range(30)]
    samples[20] = runs.sample(20, connections=495)
    assert sum_up(runs.run(samples=samples)).connections == 495


def test_the_end_does_not_count():
    """When all are sent away, fewer are there, and that is no loss."""
    samples = [runs.sample(at_s) for at_s in range(30)]
    samples.append(runs.sample(30, connections=493))
    assert sum_up(runs.run(samples=samples, duration_s=29.5)).connections == 500


def test_nothing():
    """A run that ended before its first second is all 0."""
    run = runs.run(samples=[])
    assert steady(run) == []
    assert sum_up(run).connections == 0


def test_users_that_come_and_go():
    """Few are connected at a time: the seconds count in which all users are there."""
    samples = [
        runs.sample(at_s, wanted=50, connections=at_s % 3, sent_per_s=100 + at_s)
        for at_s in range(9)
    ]
    run = runs.run(samples=samples, of=runs.totals(opened=5000))

    assert len(steady(run)) == 8  # nothing was received in the first
    assert sum_up(run).sent_per_s == 104.5

"""Owns the search for how many connections are carried: which sizes to try, and what that means.

Each try is a whole run; it knows neither how one is made nor how its limits are judged.
"""

import math
from collections.abc import Callable, Iterable

import msgspec

from loadtest.figures import BUSY, Figures, sum_up
from loadtest.results import Limit, Run
from loadtest.slo import Verdict
from loadtest.words import count, milliseconds

CLOSE_ENOUGH = 1.15  # from the most that is carried to the least that is not
LEAST_USERS = 10
MEMORY_SHARE = 0.05
FILES_SHARE = 0.97
_NO_FILES = ("too many open files", "emfile", "file limit")
_NO_PORTS = ("cannot assign requested address", "eaddrnotavail", "ports")


class Step(msgspec.Struct, frozen=True):
    """One try.

    Attributes:
        limit: what was used up in it.
    """

    users: int
    run: Run
    verdict: Verdict
    limit: Limit

    @property
    def is_carried(self) -> bool:
        """Whether the limits were kept."""
        return self.verdict.is_kept

    @property
    def is_generators_fault(self) -> bool:
        """Whether it says nothing about the server, because the generator had enough."""
        return self.run.generator_limit not in (None, "none")

    @property
    def is_others_fault(self) -> bool:
        """Whether limits broke while we had room, and other programs did not leave us all of it."""
        return not self.is_carried and self.limit == "none" and self.others is not None

    @property
    def others(self) -> str | None:
        """What other programs used of this machine, if that was much."""
        notes = (note for note in self.run.notes if note.startswith("other programs"))
        return next(notes, None)


class Climb(msgspec.Struct, frozen=True):
    """One search, from below until limits break.

    Attributes:
        best: the largest that was carried.
        broken: the smallest that was not; None if none was too large.
    """

    best: Step | None
    broken: Step | None


Try = Callable[[int], Step]


def climb(attempt: Try, first: int, most: int) -> Climb:
    """Double until limits break, then come closer; go down if the first is too much already."""
    best: Step | None = None
    broken: Step | None = None
    users = max(1, min(first, most))
    while True:
        step = attempt(users)
        if step.is_carried and not step.is_generators_fault:
            best = step
        else:
            broken = step
        following = _next(best, broken, most)
        if following is None:
            return Climb(best, broken)
        users = following


def _next(best: Step | None, broken: Step | None, most: int) -> int | None:
    if broken is None:
        assert best is not None
        return min(2 * best.users, most) if best.users < most else None
    if best is None:
        return broken.users // 2 if broken.users >= 2 * LEAST_USERS else None
    if broken.users <= CLOSE_ENOUGH * best.users:
        return None
    between = _rounded(math.sqrt(best.users * broken.users))
    return between if best.users < between < broken.users else None


def _rounded(users: float) -> int:
    """Two digits are as exact as this is."""
    return int(float(f"{users:.1e}"))


def find(attempt: Try, first: int, most: int) -> list[Climb]:
    """Climb twice; the second time begins not far below where the first ended."""
    before = climb(attempt, first, most)
    again = first if before.best is None else _rounded(0.75 * before.best.users)
    if before.broken is None:  # there is nothing to come closer to
        again = most
    return [before, climb(attempt, max(again, 1), most)]


def what_was_used_up(run: Run, least_free: float, cores: int) -> Limit:
    """Say which resource was at its end.

    Args:
        least_free: the least share of this machine's memory that was free.
        cores: of this machine, where the server is as well if its workers were seen.
    """
    if run.generator_limit is not None and run.generator_limit != "none":
        return run.generator_limit
    failures = " ".join(run.totals.failures).lower()
    if any(text in failures for text in _NO_FILES) or _most_files(run) >= FILES_SHARE:
        return "file limit"
    if any(text in failures for text in _NO_PORTS):
        return "ports"
    if least_free <= MEMORY_SHARE:
        return "memory"
    return _busiest(sum_up(run), cores)


def _most_files(run: Run) -> float:
    return max((use.files_share for one in run.samples for use in one.server), default=0.0)


def _busiest(few: Figures, cores: int) -> Limit:
    if few.worker_cpu >= BUSY:
        return "server CPU"
    if few.generator_cpu >= BUSY:
        return "generator CPU"
    # In the busiest second, which is mostly one in which they come: limits break there first.
    if few.busiest_s_cpu >= BUSY * cores:
        return "server CPU" if few.server_cpu >= few.generator_cpu else "generator CPU"
    return "none"


def sentence(climbs: Iterable[Climb], ceiling: Limit = "none") -> str:
    """Say what this machine carries: the lower of what the climbs have found.

    Args:
        ceiling: why the generator cannot try more than was tried.
    """
    found = list(climbs)
    if any(one.best is None for one in found):
        worst = next(one for one in found if one.best is None)
        assert worst.broken is not None
        return _nothing(worst.broken)
    lowest = min(found, key=lambda one: one.best.users if one.best is not None else 0)
    assert lowest.best is not None
    carried = _carried(lowest.best)
    if lowest.broken is None:
        if ceiling != "none":
            return _generators(ceiling, lowest.best.users, carried)
        return f"this machine carries at least {carried}; no limit was reached, try more"
    if lowest.broken.is_generators_fault or lowest.broken.limit == "generator CPU":
        return _generators(lowest.broken.limit, lowest.broken.users, carried)
    return f"this machine carries {carried}; first limit reached: {_first_limit(lowest.broken)}"


def _first_limit(step: Step) -> str:
    if step.limit != "none":
        return step.limit
    text = f"nothing of the machine's, but {step.verdict.broken[0]}"
    return text if step.others is None else f"{text}; {step.others}"


def _generators(limit: Limit, users: int, carried: str) -> str:
    return (
        f"the generator was the limit ({limit}) at {count(users)} connections, "
        f"so this is not the server's capacity: it carries at least {carried}"
    )


def _carried(step: Step) -> str:
    few, totals = sum_up(step.run), step.run.totals
    p99 = max(one.p99_ms for one in (totals.rtt, totals.delivery))
    text = f"{count(few.connections)} connections at {count(few.messages_per_s)} messages a second"
    return f"{text} within p99 {milliseconds(p99)}" if p99 else text


def _nothing(step: Step) -> str:
    if step.is_generators_fault:
        return (
            f"the generator was the limit ({step.limit}) at {count(step.users)} connections "
            "already, so nothing is known of the server"
        )
    return (
        f"not even {count(step.users)} connections are carried within the limits: "
        f"{'; '.join(step.verdict.broken)}"
    )

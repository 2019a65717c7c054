"""Owns how many users there are at what time of a run: ramp, steps, spike, soak. Knows no locust.

A plan is a list of stages, one after the other. locust asks once a second which of them it is.
"""

from itertools import accumulate
from typing import NamedTuple


class Stage(NamedTuple):
    """A part of a run.

    Attributes:
        users: how many there are to be.
        rate: how many come or go in a second, until they are as many.
    """

    seconds: float
    users: int
    rate: float


class ShapeError(Exception):
    """There is no such plan; the text says why."""


def plan(
    shape: str,
    *,
    users: int,
    spawn_rate: float,
    duration_s: float,
    step_users: int = 0,
    step_seconds: float = 15.0,
) -> list[Stage]:
    """Make the plan of a shape.

    - ramp: up over a third of the time, there for a third, down over the last.
    - steps: `step_users` more each `step_seconds`, up to `users`. That finds the knee: from which
      step on latency grows with no more messages. `duration_s` does not count.
    - spike: a tenth of the users, all of them for a third of the time, a tenth again.
    - soak: all users for all of the time.

    Raises:
        ShapeError: these numbers do not make one.
    """
    if users < 1 or spawn_rate <= 0 or duration_s <= 0:
        raise ShapeError("a shape needs users, a spawn rate and a duration above 0")
    third_s = duration_s / 3
    if shape == "ramp":
        rate = max(users / third_s, 0.1)
        return [Stage(2 * third_s, users, rate), Stage(third_s, 0, rate)]
    if shape == "steps":
        return _steps(users, spawn_rate, step_users or max(1, users // 10), step_seconds)
    if shape == "spike":
        base = max(1, users // 10)
        sudden = max(spawn_rate, users / 2)
        return [
            Stage(third_s, base, spawn_rate),
            Stage(third_s, users, sudden),
            Stage(third_s, base, sudden),
        ]
    if shape == "soak":
        return [Stage(duration_s, users, spawn_rate)]
    raise ShapeError(f"there is no shape {shape}")


def _steps(users: int, spawn_rate: float, step_users: int, step_seconds: float) -> list[Stage]:
    if step_users < 1 or step_seconds <= 0:
        raise ShapeError("a step needs users and seconds above 0")
    # A step must have come long before it ends.
    rate = max(spawn_rate, 3 * step_users / step_seconds)
    heights = [*range(step_users, users, step_users), users]
    return [Stage(step_seconds, height, rate) for height in heights]


def at(stages: list[Stage], seconds: float) -> tuple[int, float] | None:
    """Return how many users there are to be so long after the start, and the rate; None: the end.

    As locust's `LoadTestShape.tick` has it.
    """
    for stage, end_s in zip(stages, accumulate(s.seconds for s in stages), strict=True):
        if seconds < end_s:
            return stage.users, stage.rate
    return None

"""Owns a clock that goes on only when it is told to."""

import pytest


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self, now: float = 1e6) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()

"""Owns how much of a room's history is kept for whom comes later; knows no room's messages."""

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Keep:
    """Bounds of a history; what the ring has overwritten is gone before.

    Attributes:
        messages: at most so many of the last; None is any number.
        age_s: none that is older, in seconds; None is any age.
    """

    messages: int | None = None
    age_s: float | None = None

    def not_before_ns(self) -> int:
        """Return the Unix time in nanoseconds before which nothing is kept any more."""
        return 0 if self.age_s is None else time.time_ns() - int(self.age_s * 1e9)


class Retention:
    """Which rooms keep what: the first pattern that matches, else everything the ring holds."""

    def __init__(self) -> None:
        self._rules: list[tuple[str, Keep]] = []
        self.of = lru_cache(maxsize=4096)(self._find)

    def add(self, pattern: str, keep: Keep) -> None:
        """Keep so much of rooms whose name fits `pattern`, as file names do (`*`, `?`, `[...]`).

        Raises:
            ValueError: a bound that is below zero.
        """
        if keep.messages is not None and keep.messages < 0:
            raise ValueError(f"retain(messages={keep.messages}): it is 0 or more")
        if keep.age_s is not None and not keep.age_s >= 0:
            raise ValueError(f"retain(age_s={keep.age_s}): it is 0 or more")
        self._rules.append((pattern, keep))
        self.of.cache_clear()

    def _find(self, room: str) -> Keep:
        for pattern, keep in self._rules:
            if fnmatchcase(room, pattern):
                return keep
        return Keep()

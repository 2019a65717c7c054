"""Owns a memory whose writer dies at a chosen store; knows no rule of the segment."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, cast

from workers.layout import WORD_BYTES
from workers.segment import Segment


class Died(BaseException):
    """The writer's end: no `except Exception` in between survives it."""


class Fuse:
    """Lets stores happen, and ends the writer before one that is not allowed.

    Attributes:
        stores: the words written so far, as absolute places in the segment.
        allowed: how many there may be; None is any number.
    """

    def __init__(self, allowed: int | None = None) -> None:
        self.stores: list[int] = []
        self.allowed = allowed

    def burn(self, word: int) -> None:
        if len(self.stores) == self.allowed:
            raise Died
        self.stores.append(word)


class FusedView:
    """A memoryview of words or bytes, or a part of one, of which each store goes by a fuse."""

    def __init__(self, view: memoryview, fuse: Fuse, start: int = 0, step: int = 1) -> None:
        self._view = view
        self._fuse = fuse
        self._start = start
        self._step = step

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            start, step = self._place(key.start or 0), self._step * (key.step or 1)
            return FusedView(self._view[key], self._fuse, start, step)
        return self._view[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        first = key.start if isinstance(key, slice) else key
        self._fuse.burn(self._place(first) * self._view.itemsize // WORD_BYTES)
        self._view[key] = value

    def _place(self, index: int) -> int:
        return self._start + index * self._step

    def cast(self, code: Literal["I"]) -> "FusedView":
        view = self._view.cast(code)
        start = self._start * self._view.itemsize // view.itemsize
        return FusedView(view, self._fuse, start)

    def __bytes__(self) -> bytes:
        return bytes(self._view)

    def tolist(self) -> list[int]:
        return self._view.tolist()


@contextmanager
def fused(segment: Segment, fuse: Fuse) -> Iterator[None]:
    """Have writers that are made within write by the fuse; survive the end of one."""
    words, raw = segment.words, segment.bytes
    segment.words = cast(memoryview, FusedView(words, fuse))
    segment.bytes = cast(memoryview, FusedView(raw, fuse))
    try:
        yield
    except Died:
        pass
    finally:
        segment.words, segment.bytes = words, raw

"""Owns what a table of the segment is: fields of words, in order; knows none of the tables."""

from dataclasses import dataclass

WORD_BYTES = 8


@dataclass(frozen=True, slots=True)
class Field:
    """Consecutive words with one meaning and one writer at a time."""

    name: str
    words: int
    unit: str
    writer: str
    meaning: str


def places(fields: tuple[Field, ...]) -> dict[str, int]:
    """Return for each field where it begins, in words from the beginning of the table."""
    found, at = {}, 0
    for field in fields:
        found[field.name] = at
        at += field.words
    return found


def length(fields: tuple[Field, ...]) -> int:
    """Return how many words a table takes."""
    return sum(field.words for field in fields)

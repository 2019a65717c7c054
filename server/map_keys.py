"""Owns the bound on keys of MessagePack maps that are no text; decodes nothing itself.

A client can choose numbers that meet in one place of Python's dict, whose hash of a number is the
number: to insert n of them takes n² steps, 24 s for those that fit into 1 MiB. Texts cannot be
chosen so, as each process hashes them in its own way. The decoder has no bound for it, so a payload
is looked through before.
"""

import msgspec

MOST = 2000
"""Keys of one map that may be something else than text."""

FREE_BYTES = 16_384
"""A payload up to that size is not looked at: what fits into it takes 6 ms at most."""

_DEEPEST = 10_000  # the decoder gives up before
_MAPS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
_LISTS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
_TEXTS = frozenset((*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB))
_EXTENSIONS = frozenset((0xC7, 0xC8, 0xC9))
_INVALID = 0xC1
_WIDTHS = {  # bytes of the count that follows
    **dict.fromkeys((0xC4, 0xC7, 0xD9), 1),
    **dict.fromkeys((0xC5, 0xC8, 0xDA, 0xDC, 0xDE), 2),
    **dict.fromkeys((0xC6, 0xC9, 0xDB, 0xDD, 0xDF), 4),
}
_SIZES = (  # of what has a fixed one, with its first byte; 0: it has none
    *[1] * 0x80,
    *[0] * 0x20,
    *range(1, 0x21),
    *(1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 5, 9, 2, 3, 5, 9),
    *(2, 3, 5, 9, 3, 4, 6, 10, 18, 0, 0, 0, 0, 0, 0, 0),
    *[1] * 0x20,
)


def check_keys(payload: bytes) -> None:
    """Refuse a payload in which too many keys of one map may have been made to meet.

    Raises:
        msgspec.DecodeError: more than 2,000 of them are no text.
    """
    # Without one of these bytes no map has more than 15 keys.
    if len(payload) <= FREE_BYTES or (b"\xde" not in payload and b"\xdf" not in payload):
        return
    try:
        _look_through(payload)
    except IndexError:  # it is cut off, for which the decoder has better words
        pass


def _look_through(data: bytes) -> None:
    around: list[tuple[int, int, bool]] = []
    left, others, is_map, at = 1, 0, False, 0  # items of this container, keys that are no text
    while left or around:
        if not left:
            left, others, is_map = around.pop()
            continue
        lead = data[at]
        if is_map and not left & 1 and lead not in _TEXTS:
            others += 1
            if others > MOST:
                raise msgspec.DecodeError(f"A map has more than {MOST} keys that are no text")
        left -= 1
        if size := _SIZES[lead]:
            at += size
            continue
        if lead == _INVALID or len(around) > _DEEPEST:
            return
        width = _WIDTHS.get(lead, 0)
        count = int.from_bytes(data[at + 1 : at + 1 + width]) if width else lead & 0x0F
        at += 1 + width
        if lead in _MAPS:
            around.append((left, others, is_map))
            left, others, is_map = 2 * count, 0, True
        elif lead not in _LISTS:
            at += count + (lead in _EXTENSIONS)
        elif size := _size_of_items(data, at, count):
            at += size
        else:
            around.append((left, others, is_map))
            left, others, is_map = count, 0, False


def _size_of_items(data: bytes, at: int, count: int) -> int:
    """Return the size of a list's items if all are of one kind, such as floats; else 0."""
    size = _SIZES[data[at]] if count else 0
    heads = data[at : at + size * count : size] if size else b""
    is_uniform = len(heads) == count and heads.count(heads[:1]) == count
    return size * count if is_uniform else 0

"""Payloads that are made to hurt a decoder: deep, huge, odd, and such as promise what is not there.

On a typed route what does not decode is 1007, and the reason says what is wrong with it. On a route
of type "json" it is an error of the view that does not catch it: 1011, and a line in the log.
"""

from dataclasses import dataclass

import msgspec
import pytest

from tests.attacks.arena import MEMORY_MIB, Arena
from tests.attacks.facts import MAX_MESSAGE
from tests.support.raw import Close, Op, RawClient, frame, payload_bytes

pytestmark = pytest.mark.e2e

DEEP = 100_000
UNMASKED = bytes(4)
ERROR = Close(1011)
FULL = 100  # MiB: what a MiB of the smallest values there are becomes in Python, and in an answer


@dataclass(frozen=True)
class Case:
    """A payload, and what an untyped and a typed route answer.

    Attributes:
        echo: what the untyped one sends back; None: it closes with 1011.
        reason: how that of the typed one's 1007 begins; None: it sends the same as the other.
    """

    name: str
    payload: str | bytes
    echo: str | bytes | None = None
    reason: str | None = "Expected `object`"

    def __str__(self) -> str:
        return self.name


def list_of(item: str) -> str:
    """Return a list that is as long as a message may be."""
    count = (MAX_MESSAGE - 2) // (len(item) + 1)
    return "[" + ",".join([item] * count) + "]"


def same(name: str, payload: str | bytes, reason: str | None = "Expected `object`") -> Case:
    """Return a case that an untyped route sends back as it is."""
    return Case(name, payload, payload, reason)


MALFORMED, BINARY = "JSON is malformed: ", "MessagePack data is malformed: "
DEEPLY, RANGE, CUT = "Nested too deeply", "Number out of range", "Input data was truncated"
FIELD, COLLIDE = "Expected `str`", "A map has more than 2000 keys that are no text"
ORDER = '{"item":"a","count":1}'
LARGE = '{"item":"a","count":' + "9" * 1000 + "}"
AGAIN = '{"item":"a",' + '"count":1,' * 999 + '"count":2}'

TEXTS = [
    Case("lists in lists", "[" * DEEP),
    Case("lists in lists, and their ends", "[" * DEEP + "]" * DEEP),
    Case("objects in objects", '{"a":' * DEEP, reason=DEEPLY),
    Case("objects in a field", '{"item":' + '{"a":' * DEEP, reason=FIELD),
    Case("lists in an unknown field", '{"x":' + "[" * DEEP, reason=DEEPLY),
    Case("ends without a beginning", "]" * DEEP, reason=MALFORMED),
    Case("a million digits", "9" * 1_000_000, reason=RANGE),
    Case("4,301 digits", "9" * 4301, reason=RANGE),
    same("4,300 digits", "9" * 4300, RANGE),
    same("a number over 64 bits", "18446744073709551616"),
    same("a count that is large", LARGE, None),
    Case("a million digits of a fraction", "0." + "1" * 1_000_000, "0.1111111111111111"),
    Case("a number without end", "1e400", reason=RANGE),
    Case("a large exponent", "1e99999999999999999999", reason=RANGE),
    Case("a small exponent", "1e-99999999999999999999", "0.0"),
    Case("NaN", "NaN", reason=MALFORMED),
    Case("Infinity", "-Infinity", reason=MALFORMED),
    Case("a MiB of escapes", '"' + r"\u0041" * 170_000 + '"', '"' + "A" * 170_000 + '"'),
    same("a MiB of escaped NULs", '"' + r"\u0000" * 170_000 + '"'),
    Case("a MiB of pairs", '"' + r"\ud83d\ude00" * 80_000 + '"', '"' + "\U0001f600" * 80_000 + '"'),
    Case("half a pair", r'"\ud800"', reason=CUT),
    Case("half a pair and letters", r'"\ud800abcdef"', reason=MALFORMED),
    Case("a pair in the wrong order", r'"\udc00\ud800"', reason=MALFORMED),
    Case("an escape that is none", r'"\x41"', reason=MALFORMED),
    Case("a field twice", ORDER[:-1] + ',"item":"b"}', '{"item":"b","count":1}', None),
    Case("a field a thousand times", AGAIN, '{"item":"a","count":2}', None),
    same("a list of lists", list_of("[]")),
    same("a list of objects", list_of("{}")),
    same("a list of numbers", list_of("1")),
    Case("a list of nothing", list_of("")),
    Case("blanks", " " * (MAX_MESSAGE - 4) + "null", "null"),
    Case("blanks alone", " " * MAX_MESSAGE, reason=CUT),
    Case("two values", ORDER + ORDER, reason=MALFORMED),
    Case("a byte order mark", "\ufeff" + ORDER, reason=MALFORMED),
    Case("a comment", "/**/" + ORDER, reason=MALFORMED),
    Case("nothing", "", reason=CUT),
]


def numbered(count: int) -> bytes:
    """Return a map with so many numbers as keys, which collide in the table that Python makes."""
    numbers, number = [], 0
    for _ in range(count // 2):
        numbers.append(number)
        number = (5 * number + 1) & ((1 << 17) - 1)
    numbers += [number << 17 for number in range(1, count - len(numbers) + 1)]
    encode = msgspec.msgpack.encode
    return b"\xdf" + count.to_bytes(4) + b"".join(encode(number) + b"\xc0" for number in numbers)


def array_of(item: bytes) -> bytes:
    count = MAX_MESSAGE - 5
    return b"\xdd" + count.to_bytes(4) + item * count


BINARIES = [
    Case("lists in lists", b"\x91" * DEEP),
    Case("lists in lists, and a value", b"\x91" * DEEP + b"\xc0"),
    Case("maps in maps", b"\x81\xa1a" * DEEP + b"\xc0", reason=DEEPLY),
    Case("a list of 2^32", b"\xdd\xff\xff\xff\xff"),
    Case("lists of 2^32 in lists", b"\xdd\xff\xff\xff\xff" * DEEP),
    Case("lists of a million in lists", b"\xdd\x00\x0f\xff\xff" * 900),
    Case("a map of 2^32", b"\xdf\xff\xff\xff\xff", reason=CUT),
    Case("maps of 2^32 in maps", b"\xdf\xff\xff\xff\xff\xa1a" * DEEP, reason=DEEPLY),
    Case("a text of 4 GiB", b"\xdb\xff\xff\xff\xffabc", reason=CUT),
    Case("bytes of 4 GiB", b"\xc6\xff\xff\xff\xffabc", reason=CUT),
    Case("an extension of 4 GiB", b"\xc9\xff\xff\xff\xff\x01abc", reason=CUT),
    Case("a time beyond all times", b"\xc7\x0c\xff" + b"\xff" * 12),
    Case("a code that means nothing", b"\xc1", reason=BINARY),
    Case("text that is no UTF-8", b"\xa2\xc3\x28"),
    Case("a map as a key", b"\x81\x80\x01", reason=FIELD),
    Case("two values", b"\xc0\xc0"),
    Case("nothing", b"", reason=CUT),
    Case("80,000 numbers as keys", numbered(80_000), reason=COLLIDE),
    Case("the same inside", b"\x93\xa1a\x01" + numbered(80_000), reason=COLLIDE),
    same("a list of lists", array_of(b"\x90")),
    same("a list of maps", array_of(b"\x80")),
]


def answer(client: RawClient, payload: str | bytes) -> str | bytes | Close:
    """Send a payload, and return what comes back."""
    data, opcode = (payload.encode(), Op.TEXT) if isinstance(payload, str) else (payload, Op.BINARY)
    client.send(frame(opcode, data, mask=UNMASKED))
    got = client.read_frame()
    if isinstance(got.payload, tuple):
        return Close(int(got.payload[0]), got.payload[1])
    return got.payload if isinstance(got.payload, str) else payload_bytes(got)


def check(arena: Arena, case: Case, routes: tuple[str, str]) -> None:
    untyped, typed = routes
    with arena.attack(memory_mib=MEMORY_MIB + FULL) as attack:
        if case.echo is None:
            attack.fails(untyped)
        expected = ERROR if case.echo is None else case.echo
        is_so = answer(attack.connect(untyped), case.payload) == expected
        assert is_so  # a MiB is no good in pytest's message

        got = answer(attack.connect(typed), case.payload)
        if case.reason is None:
            assert got == case.echo
        else:
            assert isinstance(got, Close)
            assert got.code == 1007
            assert got.reason.startswith(case.reason)


@pytest.mark.parametrize("case", TEXTS, ids=str)
def test_json(arena: Arena, case: Case) -> None:
    check(arena, case, ("/json", "/typed"))


@pytest.mark.parametrize("case", BINARIES, ids=str)
def test_messagepack(arena: Arena, case: Case) -> None:
    check(arena, case, ("/msgpack", "/typed-msgpack"))

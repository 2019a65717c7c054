"""docs/protocol.md, the code and the tests name the same frames, fields, errors and codes."""

import re
from importlib import import_module
from typing import Any

import msgspec
import pytest

from server.realtime import errors, frames
from server.realtime.wire import WIRES
from tests.realtime.support import COVERED
from tests.support.servers import ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text()
MODULES = ("test_frames", "test_errors", "test_closing", "test_missed", "test_tokens")
PARTS = {
    "### From the client": "frame",
    "### From the server": "frame",
    "## Errors": "error",
    "## Close codes": "close",
    "## Connecting": None,
}


def tables(heading: str) -> list[list[list[str]]]:
    """Return the tables below a heading, as rows of cells, without their heads."""
    _, _, rest = PAGE.partition(f"\n{heading}\n")
    part = re.split(r"\n##+ ", rest)[0]
    found = re.findall(r"(?:^\|.*\|\n)+", part, re.MULTILINE)
    assert found, heading
    return [
        [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]
        for table in found
    ]


def code(cell: str) -> list[str]:
    """Return what stands in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def fields_of(kind: type[msgspec.Struct]) -> set[str]:
    """Return the fields of a frame as the page has them, `?` behind those that may be left out."""
    return {
        field.encode_name + ("" if field.required else "?")
        for field in msgspec.structs.fields(kind)
    }


def named() -> set[str]:
    """Return all that the tables name, as `covers` has it."""
    subprotocols, statuses = tables("## Connecting")
    return {
        *(f"subprotocol {code(row[0])[0]}" for row in subprotocols),
        *(f"status {row[0]}" for row in statuses),
        *(f"frame {code(row[0])[0]}" for row in tables("### From the client")[0]),
        *(f"frame {code(row[0])[0]}" for row in tables("### From the server")[0]),
        *(f"error {code(row[0])[0]}" for row in tables("## Errors")[0]),
        *(f"close {row[0]}" for row in tables("## Close codes")[0]),
    }


def test_everything_that_is_named_has_a_test_and_the_reverse() -> None:
    for module in MODULES:
        import_module(f"tests.realtime.{module}")
    assert named() == COVERED


@pytest.mark.parametrize(
    ("heading", "kinds"),
    [("### From the client", frames.FROM_CLIENT), ("### From the server", frames.FROM_SERVER)],
)
def test_frames_have_the_fields_that_are_named(heading: str, kinds: dict[str, Any]) -> None:
    rows = {code(row[0])[0]: set(code(row[1])) for row in tables(heading)[0]}
    assert rows == {name: fields_of(kind) for name, kind in kinds.items()}


def test_every_field_is_explained() -> None:
    explained = {
        code(row[0])[0]
        for heading in ("### From the client", "### From the server")
        for row in tables(heading)[1]
    }
    kinds = [*frames.FROM_CLIENT.values(), *frames.FROM_SERVER.values()]
    there = {field.rstrip("?") for kind in kinds for field in fields_of(kind)}
    assert there == explained


def test_answers_are_frames() -> None:
    for row in tables("### From the client")[0]:
        assert code(row[2])[0] in frames.FROM_SERVER


def test_errors_have_the_retry_that_is_named() -> None:
    rows = {code(row[0])[0]: row[1] for row in tables("## Errors")[0]}
    assert rows == {name: "yes" if retry else "no" for name, (retry, _) in errors.ERRORS.items()}


def test_close_codes_of_the_protocol() -> None:
    """From 4500 on a client is not to come back as it is."""
    rows = {int(row[0]): row[1] for row in tables("## Close codes")[0]}
    assert {number for number in rows if number >= 4000} == errors.CLOSE_CODES.keys()
    assert all((rows[number] == "yes") is (number < 4500) for number in errors.CLOSE_CODES)


def test_subprotocols() -> None:
    assert [code(row[0])[0] for row in tables("## Connecting")[0]] == [*WIRES]


def test_every_error_is_raised_somewhere() -> None:
    source = "".join(path.read_text() for path in (ROOT / "server" / "realtime").glob("*.py"))
    for name in errors.ERRORS:
        assert source.count(f'"{name}"') > 1, name

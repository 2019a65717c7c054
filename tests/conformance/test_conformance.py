"""Runs the conformance table: every case on every host, and whether the table is complete."""

import asyncio
import re
from importlib import import_module

import pytest

from tests.conformance.app import TOPICS
from tests.conformance.hosts import Host
from tests.conformance.rows import EXCLUDED, REQUIRED
from tests.conformance.steps import Case, play

CASES: list[Case] = [
    case for topic in TOPICS for case in import_module(f"tests.conformance.{topic}").CASES
]
HOSTS = [
    "sync",
    "async",
    pytest.param("granian", marks=pytest.mark.e2e),
    pytest.param("uvicorn", marks=pytest.mark.e2e),
]
UPSTREAM = re.compile(r"2\.\d .+")
"""A row of the research into what the guides' frameworks really do; none is required."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("host", HOSTS, indirect=True)
def test_case(host: Host, case: Case, runner: asyncio.Runner) -> None:
    runner.run(play(case, host))


def _sources() -> set[str]:
    return {tag for case in CASES for tag in case.source.split("; ")}


def test_every_row_has_a_case() -> None:
    missing = REQUIRED - _sources()
    assert not missing, sorted(missing)


def test_every_source_exists() -> None:
    unknown = {tag for tag in _sources() - REQUIRED if not UPSTREAM.fullmatch(tag)}
    assert not unknown, sorted(unknown)


def test_nothing_is_excluded_and_covered() -> None:
    assert not EXCLUDED.keys() & _sources()


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)), {name for name in names if names.count(name) > 1}

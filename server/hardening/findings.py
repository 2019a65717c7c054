"""Owns what the check-list says of one item, and how that is printed; judges nothing."""

from dataclasses import dataclass
from typing import Literal

from server.hardening.machine import Machine
from server.inspection import Look
from server.protection import Protection
from server.settings import Settings

Level = Literal["ok", "warn", "FAIL"]
_NAMED = 8
"""Routes that a warning names; beyond them it counts."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """All that is judged."""

    look: Look
    settings: Settings
    machine: Machine

    @property
    def app(self) -> Protection:
        """What the app asks of its clients."""
        return self.look.protection


@dataclass(frozen=True)
class Verdict:
    """What an item has come to.

    Attributes:
        found: what there is, in words.
        remedy: what to do about it; empty, if there is nothing to do.
        routes: those that it is about.
    """

    level: Level
    found: str
    remedy: str = ""
    routes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """The verdict on one item of the check-list.

    Attributes:
        item: its name, which stays from version to version.
    """

    item: str
    level: Level
    found: str
    remedy: str
    routes: tuple[str, ...]

    def line(self) -> str:
        """Return it for a person."""
        routes = ", ".join(self.routes) if self.level == "FAIL" else named(self.routes)
        text = f"{self.found}: {routes}" if self.routes else self.found
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.level:<4}  {self.item:<20}  {text}{remedy}"


def ok(found: str) -> Verdict:
    """Return that an item is as it should be."""
    return Verdict("ok", found)


def warn(found: str, remedy: str, routes: tuple[str, ...] = ()) -> Verdict:
    """Return that an item may be as it should not, which only a person can decide."""
    return Verdict("warn", found, remedy, routes)


def fail(found: str, remedy: str, routes: tuple[str, ...] = ()) -> Verdict:
    """Return that an item is as it should never be."""
    return Verdict("FAIL", found, remedy, routes)


def named(names: tuple[str, ...]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"

"""Owns the runs of `capacity`: each try is a run of its own, with a report; and their summary.

Which sizes are tried, and what follows from them, `capacity` says.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import msgspec

from loadtest.capacity import Climb, Step, find, sentence, what_was_used_up
from loadtest.figures import sum_up
from loadtest.generator import Plan, command
from loadtest.report.markdown import table
from loadtest.report.tables import Table
from loadtest.results import Limit
from loadtest.slo import Limits
from loadtest.trial import Command, Served, hold
from loadtest.words import count, milliseconds, percent

SUMMARY = "capacity.md"


class Found(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        text: one sentence.
        is_carried: whether anything was.
    """

    text: str
    is_carried: bool


class Search:
    """Tries sizes on one server."""

    def __init__(
        self,
        plan: Plan,
        server: Served,
        limits: Limits,
        folder: Path,
        *,
        rate: Callable[[int], float],
        output: TextIO = sys.stderr,
        generate: Command = command,
    ) -> None:
        """Take what is needed.

        Args:
            plan: of the first try.
            folder: gets a folder for each try.
            rate: how many users come each second, of so many.
        """
        self.steps: list[Step] = []
        self._plan = plan
        self._server = server
        self._limits = limits
        self._folder = folder
        self._rate = rate
        self._output = output
        self._generate = generate

    def run(self, most: int, ceiling: Limit = "none") -> Found:
        """Search twice, and write the summary.

        Args:
            most: users to try.
            ceiling: why there can be no more.

        Raises:
            KeyboardInterrupt: the user wants no more; the summary tells what there was.
        """
        climbs: list[Climb] = []
        try:
            climbs = find(self._attempt, self._plan.users, most)
            found = Found(sentence(climbs, ceiling), all(one.best is not None for one in climbs))
        except KeyboardInterrupt:
            self._write("it was interrupted")
            raise
        self._write(found.text)
        return found

    def _attempt(self, users: int) -> Step:
        step = self._try(users)
        if step.is_others_fault:
            self._say("  once more, because other programs were busy")
            step = self._try(users)
        return step

    def _try(self, users: int) -> Step:
        plan = msgspec.structs.replace(self._plan, users=users, spawn_rate=self._rate(users))
        folder = self._folder / f"{len(self.steps) + 1:02}-{users}"
        folder.mkdir()
        self._say(f"{count(users)} users:")
        result = hold(
            plan,
            self._server,
            self._limits,
            folder,
            output=self._output,
            generate=self._generate,
        )
        limit = what_was_used_up(result.run, result.least_free, os.cpu_count() or 1)
        step = Step(users, result.run, result.verdict, limit)
        self.steps.append(step)
        self._say(f"  {_outcome(step)}")
        if result.was_interrupted:
            raise KeyboardInterrupt
        return step

    def _say(self, text: str) -> None:
        print(text, file=self._output, flush=True)

    def _write(self, text: str) -> None:
        parts = [f"# Capacity: {self._plan.scenario}", f"**{text}**", self._server.target.url]
        (self._folder / SUMMARY).write_text("\n\n".join([*parts, _table(self.steps)]) + "\n")


def _outcome(step: Step) -> str:
    if step.is_generators_fault:
        return f"the generator was the limit ({step.limit})"
    return "carried" if step.is_carried else "; ".join(step.verdict.broken)


def _table(steps: list[Step]) -> str:
    columns = ["users", "held", "messages/s", "p99", "server", "generator", "used up", "outcome"]
    return table(Table("", columns, [_row(step) for step in steps]))


def _row(step: Step) -> list[str]:
    few, totals = sum_up(step.run), step.run.totals
    return [
        count(step.users),
        count(few.connections),
        count(few.messages_per_s),
        milliseconds(max(totals.rtt.p99_ms, totals.delivery.p99_ms)),
        percent(round(few.server_cpu, 2)),
        percent(round(few.generator_cpu, 2)),
        step.limit,
        _outcome(step),
    ]

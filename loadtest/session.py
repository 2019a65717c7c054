"""Owns the course of one run: generator, watch and progress side by side, until one ends it.

It judges nothing and writes no report; whatever happens, it returns what there is.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from loadtest import watch
from loadtest.generator import Generator, Plan
from loadtest.progress import Progress
from loadtest.results import Run, Sample
from loadtest.surroundings import Surroundings
from loadtest.watch import Watch
from loadtest.words import count, figures

TICK_S = 0.2
LOST_S = 3.0
OTHERS_SHARE = 0.15
Ended = Callable[[], str | None]


class Outcome(msgspec.Struct, frozen=True):
    """How a run went.

    Attributes:
        was_interrupted: by the user.
        least_free: the least share of this machine's memory that was free.
    """

    run: Run
    was_interrupted: bool
    least_free: float


class Session:
    """One run of a generator that is about to start."""

    def __init__(
        self,
        plan: Plan,
        progress: Progress,
        seen: Watch | None,
        ended: Ended,
        *,
        has_own_server: bool = False,
    ) -> None:
        """Take what is needed.

        Args:
            seen: the watch over the server; None if there is no admin port.
            ended: says how the server ended; None as long as it is there.
            has_own_server: whether this process has started it.
        """
        self._has_own_server = has_own_server
        self._plan = plan
        self._progress = progress
        self._watch = seen
        self._ended = ended
        self._last: Sample | None = None
        self._failures = 0
        self._notes: list[str] = []
        self._is_broken_off = False
        self._lost_at = 0.0

    def conduct(self, arguments: Sequence[str], folder: Path) -> Outcome:
        """Run it to its end.

        Raises:
            GeneratorError: the generator left nothing behind.
        """
        if self._watch is not None:
            self._watch.start()
        machine = Surroundings()
        generator = Generator(arguments, folder, self._plan.secret)
        was_interrupted = False
        try:
            self._follow(generator, machine)
        except KeyboardInterrupt:
            was_interrupted = True
            if not self._plan.has_ui:  # there it is how to end it
                self._break_off("it was interrupted")
        finally:
            self._progress.end()
            self._end(generator)
        run = generator.result()
        if self._has_own_server:
            self._note_others(machine.others_cores())
        return Outcome(self._complete(run), was_interrupted, machine.least_free)

    def _note_others(self, cores: float) -> None:
        all_cores = os.cpu_count() or 1
        if cores >= OTHERS_SHARE * all_cores:
            self._notes.append(
                f"other programs used {figures(cores, 2)} of this machine's {all_cores} cores: "
                "on a quiet machine the figures may be better"
            )

    def _follow(self, generator: Generator, machine: Surroundings) -> None:
        page = None
        while generator.is_running:
            time.sleep(TICK_S)
            machine.look()
            if self._plan.has_ui and page is None and (page := generator.page()) is not None:
                self._progress.say(f"the web page is at {page}; Ctrl-C ends it")
            for sample in generator.samples():
                self._show(sample)
            if (reason := self._why_end()) is not None:
                self._break_off(reason)
                return

    def _break_off(self, reason: str) -> None:
        self._is_broken_off = True
        self._notes.append(reason)

    def _end(self, generator: Generator) -> None:
        try:
            generator.stop()
        except KeyboardInterrupt:  # once more: at once
            generator.kill()

    def _show(self, sample: Sample) -> None:
        self._last = sample
        self._failures += sample.failures
        looks = self._watch.looks if self._watch is not None else []
        left_s = None if self._plan.has_ui else self._plan.length_s - sample.at_s
        workers = looks[-1].workers if looks else []
        self._progress.show(sample, workers, left_s, self._failures)

    def _why_end(self) -> str | None:
        """Say why there is no point in going on."""
        at_s = self._last.at_s if self._last is not None else 0.0
        how = self._ended()
        if how is None:
            self._lost_at = 0.0
            return None
        # A server that is being replaced may come back.
        self._lost_at = self._lost_at or time.monotonic()
        if time.monotonic() - self._lost_at < LOST_S:
            return None
        return f"{how}, after {max(0.0, at_s - LOST_S):.0f} s"

    def _complete(self, run: Run) -> Run:
        """Add what the generator does not know."""
        if self._watch is not None:
            self._watch.stop()
            run = watch.add_to(run, self._watch.looks, self._deltas(self._watch))
        return msgspec.structs.replace(
            run,
            is_complete=run.is_complete and not self._is_broken_off,
            notes=(*run.notes, *self._notes),
        )

    def _deltas(self, seen: Watch) -> dict[str, float]:
        others = seen.connections_before
        if not others:
            return seen.deltas()
        self._notes.append(f"others were connected before it began, {count(others)} of them")
        return {}

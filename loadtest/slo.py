"""Owns the verdict on a run: which limits it broke, each in a sentence; knows no file but limits.

It judges the figures of a `Run` by what its scenario is for, and neither measures nor prints.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from loadtest import books
from loadtest.results import BROKEN_OFF, Latency, Run, Totals
from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.words import count, milliseconds, percent

DEFAULT_FILE = Path(__file__).with_name("slo.toml")


_STRICT = Scenario(
    name="", help="", users=(), routes=(), default_users=0, spawn_rate=0, duration_s=0
)


class SloError(Exception):
    """The file with the limits cannot be used; the text says why."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run has to keep to, see slo.toml; None is not judged."""

    connect_p99_ms: float | None = None
    reconnect_p99_ms: float | None = None
    rtt_p99_ms: float | None = None
    delivery_p99_ms: float | None = None
    failure_share: float | None = None
    refused_share: float | None = None
    abnormal_close_share: float | None = None
    completeness: float | None = None
    duplicated: int | None = None
    reordered: int | None = None
    not_recovered_share: float | None = None
    books_difference: int | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    limits: dict[str, object]
    scenarios: dict[str, dict[str, object]] = {}


class Check(msgspec.Struct, frozen=True):
    """One limit and what the run made of it.

    Attributes:
        what: the limit in words.
        was, limit: as text.
        broken: the sentence if it was broken, else empty.
    """

    what: str
    was: str
    limit: str
    broken: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """What is to be said of a run.

    Attributes:
        checks: one for each limit that could be judged.
        broken: the sentences of the limits that were broken, and others that make the run bad.
        notes: sentences that the figures have to be read with.
    """

    checks: list[Check]
    broken: list[str]
    notes: list[str]

    @property
    def is_kept(self) -> bool:
        """Whether all is as it has to be."""
        return not self.broken


def load_limits(path: Path, scenario: str) -> Limits:
    """Read the limits for a scenario: those of all, and its own in place of them.

    Raises:
        SloError: the file is not there, or says something that is not known.
    """
    try:
        file = msgspec.convert(tomllib.loads(path.read_text()), _File)
        return msgspec.convert({**file.limits, **file.scenarios.get(scenario, {})}, Limits)
    except OSError as error:
        raise SloError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SloError(f"{path}: {error}") from None


def judge(run: Run, limits: Limits) -> Verdict:
    """Compare a run with the limits."""
    checks = [check for check in _checks(run, limits) if check is not None]
    broken = [check.broken for check in checks if check.broken]
    if run.totals.opened == 0:
        broken.insert(0, "no connection was opened, so nothing was measured")
    if not run.is_complete:
        broken.insert(0, f"the run was broken off after {run.duration_s:.0f} s")
    return Verdict(checks, broken, list(_notes(run, limits)))


def _notes(run: Run, limits: Limits) -> Iterator[str]:
    if run.generator_limit not in (None, "none"):
        yield (
            f"the generator was the limit ({run.generator_limit}): "
            "these figures are not the server's capacity"
        )
    yield from (note for note in run.notes if note != BROKEN_OFF)  # that is in the verdict
    if limits.books_difference is not None and not run.server_deltas:
        yield "the server's own counts are not known, so they were not compared with ours"


def _checks(run: Run, limits: Limits) -> Iterator[Check | None]:
    totals, scenario = run.totals, SCENARIOS.get(run.scenario, _STRICT)
    yield _latency("connect", totals.connect, limits.connect_p99_ms)
    yield _latency("reconnect", totals.reconnect, limits.reconnect_p99_ms)
    yield _latency("rtt", totals.rtt, limits.rtt_p99_ms)
    yield _latency("delivery", totals.delivery, limits.delivery_p99_ms)
    yield _failures(totals, limits.failure_share)
    yield _refused(totals, limits.refused_share, scenario)
    yield _closes(totals, limits.abnormal_close_share, scenario)
    if scenario.is_complete:
        yield _completeness(totals, limits.completeness)
        yield _amount("duplicated", "came more than once", totals.duplicated, limits.duplicated)
        yield _amount("reordered", "came after a later one", totals.reordered, limits.reordered)
    if scenario.is_recovered:
        yield _recovery(totals, limits.not_recovered_share)
    yield _books(run, limits.books_difference)


def _latency(name: str, measured: Latency, limit: float | None) -> Check | None:
    if limit is None or measured.count == 0:
        return None
    what, was, most = f"{name} p99", milliseconds(measured.p99_ms), milliseconds(limit)
    if measured.p99_ms <= limit:
        return Check(what, was, most)
    if was == most:  # three digits do not show that it was more
        was = f"{measured.p99_ms:,} ms"
    return Check(what, was, most, f"{what} was {was}, the limit is {most}")


def _share(what: str, part: int, whole: int, limit: float, sentence: str) -> Check:
    """Judge a share; `sentence` follows it, and says nothing of the limit."""
    share = part / whole if whole else 0.0
    was, most = percent(share), percent(limit)
    if share <= limit:
        return Check(what, was, most)
    return Check(what, was, most, f"{was} {sentence}, the limit is {most}")


def _failures(totals: Totals, limit: float | None) -> Check | None:
    if limit is None:
        return None
    failed = sum(totals.failures.values())
    tried = max(totals.opened + sum(totals.refused.values()) + totals.sent, failed)
    sentence = f"of all that was tried failed ({_list(totals.failures)})"
    return _share("failures", failed, tried, limit, sentence)


def _refused(totals: Totals, limit: float | None, scenario: Scenario) -> Check | None:
    if limit is None:
        return None
    others = {
        code: times for code, times in totals.refused.items() if code not in scenario.refusals
    }
    refused = sum(others.values())
    statuses = {f"HTTP {status}": times for status, times in others.items()}
    sentence = f"of the handshakes were refused ({_list(statuses)})"
    return _share("refused handshakes", refused, totals.opened + refused, limit, sentence)


def _closes(totals: Totals, limit: float | None, scenario: Scenario) -> Check | None:
    if limit is None or not totals.closed:
        return None
    fine = sorted(scenario.close_codes)
    others = {code: times for code, times in totals.closed.items() if code not in fine}
    sentence = (
        f"of the connections ended with another code than {' or '.join(fine)} ({_list(others)})"
    )
    what = f"close codes other than {', '.join(fine)}"
    return _share(what, sum(others.values()), sum(totals.closed.values()), limit, sentence)


def _completeness(totals: Totals, limit: float | None) -> Check | None:
    if limit is None or totals.expected == 0:
        return None
    was, least = percent(totals.completeness), percent(limit)
    if totals.completeness >= limit:
        return Check("completeness", was, least)
    missing = totals.expected - totals.delivered
    return Check(
        "completeness",
        was,
        least,
        f"{was} of the deliveries that were due came ({count(missing)} of "
        f"{count(totals.expected)} did not), the limit is {least}",
    )


def _amount(what: str, sentence: str, amount: int, limit: int | None) -> Check | None:
    if limit is None:
        return None
    if amount <= limit:
        return Check(what, count(amount), count(limit))
    messages = "1 message" if amount == 1 else f"{count(amount)} messages"
    broken = f"{messages} {sentence}, the limit is {count(limit)}"
    return Check(what, count(amount), count(limit), broken)


def _recovery(totals: Totals, limit: float | None) -> Check | None:
    asked = totals.recovered + totals.not_recovered
    if limit is None or asked == 0:
        return None
    sentence = (
        "of the members that came back were not sent what they had missed "
        f"({count(totals.not_recovered)} of {count(asked)})"
    )
    return _share("not recovered", totals.not_recovered, asked, limit, sentence)


def _books(run: Run, limit: int | None) -> Check | None:
    if limit is None or not run.server_deltas:
        return None
    entries = books.compare(run)
    worst = max((abs(entry.difference) for entry in entries), default=0)
    wrong = "; ".join(str(entry) for entry in entries if abs(entry.difference) > limit)
    broken = f"the books do not agree: {wrong}; the limit is {count(limit)}" if wrong else ""
    return Check("difference to the server's books", count(worst), count(limit), broken)


def _list(amounts: dict[str, int]) -> str:
    most_first = sorted(amounts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count(times)} x {name}" for name, times in most_first)

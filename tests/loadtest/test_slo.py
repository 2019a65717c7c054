"""Owns the proof that every limit can break, and that the sentence says which and by how much."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtest import slo
from loadtest.results import BROKEN_OFF, Run
from tests.loadtest import runs

LIMITS = slo.load_limits(slo.DEFAULT_FILE, "room")


def _broken(run: Run) -> list[str]:
    return slo.judge(run, LIMITS).broken


def test_a_good_run():
    """Nothing is said, and every limit that can be judged was."""
    verdict = slo.judge(runs.run(), LIMITS)

    assert verdict.is_kept
    assert verdict.broken == verdict.notes == []
    assert len(verdict.checks) == len(msgspec.structs.fields(slo.Limits)) - 2  # nobody came back


def test_every_limit_is_set():
    """The file that comes with it leaves nothing unjudged."""
    assert None not in msgspec.structs.astuple(LIMITS)


@pytest.mark.parametrize(
    ("totals", "sentence"),
    [
        ({"connect": runs.latency(1234)}, "connect p99 was 1,234 ms, the limit is 1,000 ms"),
        ({"reconnect": runs.latency(6000)}, "reconnect p99 was 6,000 ms, the limit is 5,000 ms"),
        ({"rtt": runs.latency(100.4)}, "rtt p99 was 100.4 ms, the limit is 100 ms"),
        ({"delivery": runs.latency(241)}, "delivery p99 was 241 ms, the limit is 100 ms"),
        (
            {"failures": {"closed with {1011}": 3, "no answer": 18}},
            (
                "0.2 % of all that was tried failed (18 x no answer, 3 x closed with {1011}), "
                "the limit is 0 %"
            ),
        ),
        (
            {"refused": {"503": 125}},
            "20 % of the handshakes were refused (125 x HTTP 503), the limit is 0 %",
        ),
        (
            {"closed": {"1000": 499, "1011": 1}},
            (
                "0.2 % of the connections ended with another code than 1000 (1 x 1011), "
                "the limit is 0 %"
            ),
        ),
        (
            {"delivered": 19_980},
            (
                "99.9 % of the deliveries that were due came (20 of 20,000 did not), "
                "the limit is 100 %"
            ),
        ),
        ({"duplicated": 1}, "1 message came more than once, the limit is 0"),
        ({"reordered": 2}, "2 messages came after a later one, the limit is 0"),
    ],
)
def test_a_broken_limit(totals: dict[str, Any], sentence: str):
    """Its sentence is the only one."""
    assert _broken(runs.run(of=runs.totals(**totals))) == [sentence]


def test_members_that_were_not_recovered():
    """It is for a scenario in which all who come back have to get what they missed."""
    totals = runs.totals(recovered=15, not_recovered=5)

    assert _broken(runs.run(of=totals)) == []
    assert _broken(runs.run(of=totals, scenario="storm")) == [
        (
            "25 % of the members that came back were not sent what they had missed (5 of 20), "
            "the limit is 0 %"
        )
    ]


def test_what_a_scenario_is_for():
    """Close codes and refusals that belong to it are no fault, and others are."""
    slow = runs.totals(closed={"1000": 495, "1013": 4, "1011": 1})
    auth = runs.totals(refused={"401": 125})

    assert _broken(runs.run(of=slow, scenario="slow")) == [
        (
            "0.2 % of the connections ended with another code than 1000 or 1006 or 1013 "
            "(1 x 1011), the limit is 0 %"
        )
    ]
    assert _broken(runs.run(of=auth, scenario="auth")) == []


def test_just_kept():
    """A limit may be reached."""
    assert _broken(runs.run(of=runs.totals(rtt=runs.latency(100)))) == []


def test_books_that_do_not_agree():
    """Both counts are named."""
    run = runs.run()
    series = 'ws_messages_sent_total{route="/ws/echo"}'
    run = runs.changed(run, server_deltas={**run.server_deltas, series: 30_007.0})

    assert _broken(run) == [
        (
            "the books do not agree: messages from the server: clients 30,000, server 30,007; "
            "the limit is 0"
        )
    ]


def test_without_the_servers_counts():
    """It is said that the books were not compared; it is not a fault."""
    verdict = slo.judge(runs.run(server_deltas={}), LIMITS)

    assert verdict.is_kept
    assert verdict.notes == [
        "the server's own counts are not known, so they were not compared with ours"
    ]


def test_nothing_was_measured():
    """No connection is no success."""
    totals = runs.totals(
        opened=0, closed={}, sent=0, received=0, expected=0, delivered=0, refused={}
    )
    assert "no connection was opened, so nothing was measured" in _broken(runs.run(of=totals))


def test_a_run_that_was_broken_off():
    """It is not fine, whatever its figures."""
    verdict = slo.judge(runs.run(is_complete=False, notes=(BROKEN_OFF, "So it is.")), LIMITS)

    assert verdict.broken == ["the run was broken off after 30 s"]
    assert verdict.notes == ["So it is."]  # it is not said twice


def test_the_generator_was_the_limit():
    """The figures are not to be taken for the server's."""
    verdict = slo.judge(runs.run(generator_limit="generator CPU", notes=("So it is.",)), LIMITS)

    assert verdict.notes == [
        "the generator was the limit (generator CPU): these figures are not the server's capacity",
        "So it is.",
    ]


def test_limits_of_a_scenario(tmp_path: Path):
    """They replace those of all scenarios; the others stay; what is left out is not judged."""
    file = tmp_path / "slo.toml"
    file.write_text("[limits]\nrtt_p99_ms = 5\nduplicated = 0\n[scenarios.slow]\nrtt_p99_ms = 9.5")

    assert slo.load_limits(file, "slow") == slo.Limits(rtt_p99_ms=9.5, duplicated=0)
    assert slo.load_limits(file, "echo") == slo.Limits(rtt_p99_ms=5, duplicated=0)
    checks = slo.judge(runs.run(), slo.load_limits(file, "echo")).checks
    assert [check.what for check in checks] == ["rtt p99", "duplicated"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot read .*: No such file"),
        ("[limits", "slo.toml: "),
        ("[limits]\nrtt_p99 = 5", "unknown field `rtt_p99`"),
        ('[limits]\nrtt_p99_ms = "5"', "Expected `float"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str | None, says: str):
    """It is said why, and no limit is passed over."""
    file = tmp_path / "slo.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(slo.SloError, match=says):
        slo.load_limits(file, "echo")


def test_messages_that_cannot_be_compared():
    """Those to clients that vanish; all else is compared."""
    run = runs.run(server_deltas=runs.deltas(runs.totals(received=29_000)))
    assert "messages from the server" in _broken(run)[0]
    assert _broken(runs.changed(run, scenario="storm")) == []
    assert "messages from the server" in _broken(runs.changed(run, scenario="slow"))[0]

    run = runs.run(server_deltas=runs.deltas(runs.totals(sent=9_000)))
    assert "messages to the server" in _broken(runs.changed(run, scenario="storm"))[0]

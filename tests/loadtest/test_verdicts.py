"""Owns the proof that the verdict can fail: each way to be broken has its sentence."""

import re
from pathlib import Path

import pytest

from tests.loadtest import commands

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("app", "scenario", "more", "sentence"),
    [
        pytest.param(
            "drops",
            "echo",
            ["--rate", "200", "--answer-timeout", "1", "--settle-timeout", "1"],
            r"9\d\.\d+ % of the deliveries that were due came "
            r"\([\d,]+ of [\d,]+ did not\), the limit is 100 %",
            id="drops 1 message in 1,000",
        ),
        pytest.param(
            "delays",
            "echo",
            ["--rate", "50"],
            r"rtt p99 was [2-9]\d\d ms, the limit is 150 ms",
            id="adds 200 ms to 2 % of the answers",
        ),
        pytest.param(
            "closes",
            "echo",
            ["--rate", "100"],
            r"[\d.]+ % of the connections ended with another code than 1000 \(\d+ x 1011\), "
            r"the limit is 0 %",
            id="closes 1 in 500 with 1011",
        ),
        pytest.param(
            "doubles",
            "room",
            ["--interval", "0.2"],
            r"[\d,]+ messages came more than once, the limit is 0",
            id="delivers twice",
        ),
    ],
)
def test_a_server_that_is_broken(
    tmp_path: Path, app: str, scenario: str, more: list[str], sentence: str
):
    """The command fails with the sentence that says which limit, and by how much."""
    limits = commands.lenient(tmp_path, p99_ms=150 if app == "delays" else 20_000)
    asked = ["--users", "10", "--duration", "2", "--slo", str(limits), "--reports", str(tmp_path)]
    with commands.serving(f"tests.loadtest.faulty_app:{app}") as (_, flags):
        done = commands.loadtest("run", scenario, *flags, *asked, "--", *more)

    assert done.code == 1, done.text
    broken = re.findall(r"^BROKEN: (.*)$", done.stdout, re.MULTILINE)
    assert any(re.fullmatch(sentence, one) for one in broken), done.text
    assert "all limits were kept" not in done.stdout
    # The server did what it did, and counted all of it: nothing else is broken.
    assert not any("the books" in one for one in broken), done.text

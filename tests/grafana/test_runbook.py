"""The runbook has an entry for every alert, and its queries and commands are those there are."""

import re
import shlex

import pytest

from tests.docs.pages import pages
from tests.grafana.promql import problems
from tests.grafana.rules import alerts, recorded
from tests.support.servers import ROOT

RUNBOOK = "docs/operations/runbook.md"
TEXT = (ROOT / RUNBOOK).read_text()
ENTRIES = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))
IN_CODE = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", TEXT)]
QUERIES = [code for code in IN_CODE if re.search(r"\b(ws_\w{4,}|up\{)", code)]
COMMANDS = [code for code in IN_CODE if code.startswith("python -m server")]
CLI = (ROOT / "docs" / "reference" / "cli.md").read_text()


def test_every_alert_has_its_entry():
    """And every entry its alert, in the same order."""
    assert list(ENTRIES) == list(alerts())


@pytest.mark.parametrize("alert", alerts())
def test_link_of_the_alert_leads_to_its_entry(alert: str):
    path, _, anchor = alerts()[alert]["annotations"]["runbook_url"].partition("#")
    page = next(page for page in pages() if page.name == path)
    assert anchor in page.anchors


@pytest.mark.parametrize("entry", ENTRIES)
def test_entry_is_complete(entry: str):
    """What it means, how to confirm it with a query or a command, what to do."""
    parts = re.findall(r"^\*\*(\w+)\.\*\*", ENTRIES[entry], re.MULTILINE)
    assert parts == ["Means", "Confirm", "Do"]
    confirm = ENTRIES[entry].partition("**Confirm.**")[2].partition("**Do.**")[0]
    assert re.search(r"`[^`]*(ws_|up\{|python -m server)", confirm)


@pytest.mark.parametrize("query", QUERIES)
def test_query_asks_for_what_is_there(query: str):
    assert problems(query, recorded()) == []


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_command_exists(command: str):
    """The command and each of its flags."""
    _, _, _, name, *arguments = shlex.split(command)
    usage = re.search(rf"^`python -m server {name} (.*)`$", CLI, re.MULTILINE)
    assert usage is not None
    flags = {word for word in arguments if word.startswith("--")}
    assert flags <= set(re.findall(r"--[\w-]+", usage[1]))

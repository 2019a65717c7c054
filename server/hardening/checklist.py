"""Owns the check-list as a whole: its items, their order, and what they add up to."""

from collections import Counter
from collections.abc import Sequence

from server.hardening import of_app, of_server
from server.hardening.findings import Finding, Subject
from server.hardening.machine import Machine
from server.inspection import Look
from server.settings import Settings

_OF_ANY_APP = (*of_server.ITEMS, "app")
_ALL = {**of_server.ITEMS, **of_app.ITEMS, **of_server.ADMISSION_ITEMS, **of_app.LIMIT_ITEMS}
ITEMS = tuple(_ALL)
"""The names of the items, in order; they stay from version to version."""


def judge(look: Look, settings: Settings, machine: Machine) -> list[Finding]:
    """Return what there is to say of each item, in order.

    Of an app that is no App the items about routes and limits are left out: nothing enforces them.
    """
    subject = Subject(look=look, settings=settings, machine=machine)
    items = ITEMS if look.protection.is_app else _OF_ANY_APP
    findings = []
    for item in items:
        verdict = _ALL[item](subject)
        findings.append(Finding(item, verdict.level, verdict.found, verdict.remedy, verdict.routes))
    return findings


def has_failed(findings: Sequence[Finding]) -> bool:
    """Whether an item is as it should never be."""
    return any(finding.level == "FAIL" for finding in findings)


def summary(findings: Sequence[Finding]) -> str:
    """Return how many items are how."""
    counts = Counter(finding.level for finding in findings)
    return (
        f"{len(findings)} items: {counts['ok']} ok, {counts['warn']} warn, {counts['FAIL']} FAIL"
        " (docs/security.md says more of each)"
    )

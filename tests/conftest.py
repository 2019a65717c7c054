"""Owns what holds for all tests: where everything is installed (CI), none may be skipped."""

import os

import pytest

SKIP_NOTHING = "SWITCHBOARD_SKIP_NOTHING"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a test was skipped that had to run; why each was skipped stands above."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or SKIP_NOTHING not in os.environ:  # a process of xdist reports nothing
        return
    if (skipped := reporter.stats.get("skipped")) and session.exitstatus == pytest.ExitCode.OK:
        names = ", ".join(sorted(report.nodeid for report in skipped))
        reporter.write_line(f"\nerror: {SKIP_NOTHING} is set, and skipped were: {names}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED

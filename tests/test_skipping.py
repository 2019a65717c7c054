"""In CI a test that is skipped fails the run, or what is not installed there would go unseen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT

TESTS = """
import pytest


def test_runs():
    pass


@pytest.mark.skip(reason="no program")
def test_needs_a_program():
    pass
"""


@pytest.mark.parametrize("processes", ["0", "1"])
@pytest.mark.parametrize(("setting", "code"), [({}, 0), ({"SWITCHBOARD_SKIP_NOTHING": "1"}, 1)])
def test_a_skipped_test(tmp_path: Path, processes: str, setting: dict[str, str], code: int) -> None:
    (tmp_path / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    (tmp_path / "test_two.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("SWITCHBOARD_", "PYTEST"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", processes],
        cwd=tmp_path,
        env=inherited | setting,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert "1 passed, 1 skipped" in done.stdout
    assert done.returncode == code
    assert ("skipped were: test_two.py::test_needs_a_program" in done.stdout) is bool(code)

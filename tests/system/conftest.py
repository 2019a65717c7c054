"""Owns what the tests of the whole server share: the loop of the crowd, and a user's directory."""

from pathlib import Path

import pytest

from tests.support.cli import Project


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)

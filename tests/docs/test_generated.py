"""Owns the freshness of docs/reference/: the pages are what docs/generate.py writes today."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from docs import generate
from server.settings import ConnectionSettings, Settings


@pytest.mark.parametrize("path", generate.pages(), ids=lambda path: path.name)
def test_page_is_fresh(path: Path):
    """It is what `make docs` would write."""
    assert path.read_text() == generate.pages()[path]


def test_check_finds_a_stale_page(monkeypatch, tmp_path, capsys):
    """`--check` fails and names the page, and writing mends it."""
    monkeypatch.setattr(generate, "FOLDER", tmp_path)

    assert generate.main(["--check"]) == 1
    assert "settings.md is out of date; run: make docs" in capsys.readouterr().err
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize("kind", [Settings, ConnectionSettings])
def test_every_setting_has_a_meaning(kind: Any):
    """The docstring of a settings class names each of its fields, and no other."""
    assert set(generate.attributes(kind)) == {field.name for field in fields(kind)}

"""Owns the proof that figures are written so that a person is not misled."""

import pytest

from loadtest.words import count, duration, figures, milliseconds, percent


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.1234, "0.123"), (12.345, "12.3"), (241.4, "241"), (1234.5, "1,234"), (5.0, "5")],
)
def test_figures(number: float, text: str):
    """Three digits say it; none of them is made up."""
    assert figures(number) == text
    assert milliseconds(number) == f"{text} ms"


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.5, "50 %"),
        (0.001, "0.1 %"),
        (0.999, "99.9 %"),
        (0.99996, "99.996 %"),
        (0.0000004, "0.00004 %"),
    ],
)
def test_percent(share: float, text: str):
    """What is almost all is never written as all, nor what is hardly anything as nothing."""
    assert percent(share) == text


def test_count():
    """Thousands are set apart."""
    assert count(12345) == "12,345"


@pytest.mark.parametrize(
    ("seconds", "text"), [(45.4, "45 s"), (99.6, "1:40 min"), (200, "3:20 min"), (7500, "2:05 h")]
)
def test_duration(seconds: float, text: str):
    """The unit fits the length."""
    assert duration(seconds) == text

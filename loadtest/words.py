"""Owns how figures are written for a person; knows no figure."""

import math


def count(number: float) -> str:
    """Write a whole number: 12,345."""
    return f"{number:,.0f}"


def figures(number: float, digits: int = 3) -> str:
    """Write a number to so many significant digits, in full: 0.123, 12.3, 1,230."""
    if number == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(number))))
    text = f"{number:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def milliseconds(ms: float) -> str:
    """Write a time: 0.412 ms, 12.3 ms, 241 ms."""
    return f"{figures(ms)} ms"


def percent(share: float) -> str:
    """Write a share; one that is just below 100 % or above 0 % never looks like it."""
    if share in (0, 1):
        return f"{share * 100:.0f} %"
    near = min(abs(share), abs(1 - share))
    # As many decimals as show two digits of the distance to the nearer end.
    decimals = max(0, 1 - math.floor(math.log10(near * 100)))
    text = f"{share * 100:.{min(decimals, 8)}f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def duration(seconds: float) -> str:
    """Write a time to wait: 45 s, 3:20 min, 1:05 h."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = whole // 60
    return (
        f"{minutes // 60}:{minutes % 60:02} h"
        if whole >= 6000
        else f"{minutes}:{whole % 60:02} min"
    )

"""Figures in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Two figures within this share of each other are called equal.
EQUAL = 0.05


def format_share(share: float) -> str:
    """Return a share, 0 to 1, in per cent: 0.9973 is "99.7 %". Only 1 is "100 %", and only 0 is "0 %"."""
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    for digits in range(1, 6):
        text = f"{100 * share:.{digits}f}"
        if 0 < float(text) < 100:
            return f"{text} %"
    return f"{100 * share:g} %"


def format_interval(low: float, high: float) -> str:
    """Return an interval of shares: "95.1 to 98.7 %"."""
    return f"{format_share(low).removesuffix(' %')} to {format_share(high)}"


def format_number(value: float) -> str:
    """Return a value to three digits, whole numbers with separators: "0.157", "3.21", "12,000"."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def format_milliseconds(value: float) -> str:
    """Return a time, ms: "0.157 ms", and from 10 s on "12.3 s"."""
    return f"{format_number(value)} ms" if value < 10_000 else f"{format_number(value / 1000)} s"


def format_bytes(count: float) -> str:
    """Return a size: "216 KB", "1.23 MB"."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{format_number(count / scale)} {unit}"
    return f"{count / 1000:.0f} KB" if count >= 9_950 else f"{format_number(count / 1000)} KB"


def format_count(count: int, noun: str, nouns: str = "") -> str:
    """Return a number of things: "1 clip", "6,061 clips"."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def compare(own: float, other: float, less: str, more: str, equal: str) -> str:
    """Return how a figure compares with another one: "2.8 times smaller", "1.5 times larger", "about as large".

    Args:
        own, other: the figures, above 0.
        less, more: comparatives, such as "smaller" and "larger".
        equal: where they are within EQUAL of each other.
    """
    ratio = own / other
    if abs(ratio - 1) <= EQUAL:
        return equal
    factor, word = (1 / ratio, less) if ratio < 1 else (ratio, more)
    return f"{factor:.1f} times {word}" if factor < 9.95 else f"{factor:,.0f} times {word}"


def join(parts: Sequence[str]) -> str:
    """Return parts of a sentence as one: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def describe_form(form: str) -> str:
    """Return the title of a form of a latency: "step", or the length of the window."""
    return form if form == "step" else f"{form} s"


def describe_variant(name: str, form: str) -> str:
    """Return the title of a model in one of its forms: its name, and the length of a window."""
    return name if form == "step" else f"{name}, {describe_form(form)}"

"""Counts and figures in messages."""

from __future__ import annotations

import math


def count_text(number: int, one: str, more: str | None = None) -> str:
    """A count with its noun: 1 row, 12,345 rows."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def figure_text(value: float, digits: int = 3) -> str:
    """A figure with so many decimals; "-" for one that does not exist, which is NaN, or -1 among COCO's."""
    return "-" if math.isnan(value) or value == -1 else f"{value:.{digits}f}"

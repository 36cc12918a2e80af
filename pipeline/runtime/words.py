"""Counts in messages."""

from __future__ import annotations


def count_text(number: int, one: str, more: str | None = None) -> str:
    """A count with its noun: 1 row, 12,345 rows."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"

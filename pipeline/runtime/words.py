"""Counts, figures and names in messages."""

from __future__ import annotations

import math
from collections.abc import Iterable
from difflib import get_close_matches


def count_text(number: int, one: str, more: str | None = None) -> str:
    """A count with its noun: 1 row, 12,345 rows."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def figure_text(value: float, digits: int = 3) -> str:
    """A figure with so many decimals; "-" for one that does not exist, which is NaN, or -1 among COCO's."""
    return "-" if math.isnan(value) or value == -1 else f"{value:.{digits}f}"


def nearest_text(name: object, known: Iterable[str]) -> str:
    """What to add to a message that there is no such name: the known one that is spelt most like it, if one is.

    Args:
        name: text, or what YAML made of it: 3, true, null.
    """
    found = get_close_matches(str(name), list(known), n=1)
    return f"; the nearest is {found[0]}" if found else ""


def nearest_key_text(key: str, known: Iterable[str]) -> str:
    """The same for `section.key`: a key of the same section is looked for first, then one of any section."""
    keys = list(known)
    parent, _, leaf = key.rpartition(".")
    siblings = {own.rpartition(".")[2]: own for own in keys if own.rpartition(".")[0] == parent}
    if not siblings:
        return nearest_text(key, keys)
    found = get_close_matches(leaf, list(siblings), n=1)
    return f"; the nearest is {siblings[found[0]]}" if found else ""

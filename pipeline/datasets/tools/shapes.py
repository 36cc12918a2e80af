"""Boxes around what tools draw otherwise, and values of their files, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.datasets.tools.annotated import Numbers, to_coordinate
from pipeline.runtime.errors import InputError

_MOST_SHOWN = 40


def around(points: Iterable[tuple[Any, Any]], where: str) -> Numbers:
    """The box (x1, y1, x2, y2) around points.

    Raises:
        InputError: there are fewer than two, or one is not a pair of finite numbers.
    """
    pairs = numeric(points, where)
    if len(pairs) < 2:
        raise InputError(f"{where}: has {len(pairs)} points, an outline has two at least; correct it")
    xs, ys = zip(*pairs, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def numeric(points: Iterable[tuple[Any, Any]], where: str) -> list[tuple[float, float]]:
    """Points as finite numbers, of texts too.

    Raises:
        InputError: one is not a pair of finite numbers.
    """
    found = []
    for point in points:
        x, y = map(to_coordinate, point)
        if x is None or y is None or not math.isfinite(x) or not math.isfinite(y):
            raise InputError(f"{where}: its points are not all numbers; correct them")
        found.append((x, y))
    return found


def turned(box: Numbers, degrees: float, pivot: tuple[float, float], where: str) -> Numbers:
    """The box (x1, y1, x2, y2) around another that is turned clockwise, as the y axis points down, about a pivot."""
    x1, y1, x2, y2 = box
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = [(x - pivot[0], y - pivot[1]) for x in (x1, x2) for y in (y1, y2)]
    return around([(pivot[0] + x * cos - y * sin, pivot[1] + x * sin + y * cos) for x, y in corners], where)


def number(value: Any, what: str, where: str) -> float:
    """A finite number, of a text too.

    Raises:
        InputError: it is none.
    """
    found = to_coordinate(value)
    if found is None or not math.isfinite(found):
        raise InputError(f"{where}: {what} is {str(value)[:_MOST_SHOWN]!r}, not a number; correct it")
    return found


def sized(width: Any, height: Any) -> tuple[float, float] | None:
    """(width, height) in px where both are positive numbers, else None: the image's own size counts then."""
    across, down = (None if isinstance(side, str) else to_coordinate(side) for side in (width, height))
    if across is None or down is None or not 0 < across < math.inf or not 0 < down < math.inf:
        return None
    return across, down


def text_of(content: Mapping[str, Any], key: str, where: str) -> str:
    """A text that is not empty; a number as a text.

    Raises:
        InputError: there is none.
    """
    value = content.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {key} is {str(value)[:_MOST_SHOWN]!r}, expected a text; correct it")
    return value


def listed(content: Mapping[str, Any], key: str, where: str, kind: type = dict) -> list[Any]:
    """A list of objects, or of lists.

    Raises:
        InputError: it is none.
    """
    value = content.get(key)
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        what = "lists" if kind is list else "objects"
        raise InputError(f"{where}: {key} is not a list of {what}; fix the file")
    return value

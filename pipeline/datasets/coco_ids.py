"""Ids as COCO files write them: numbers, and what other tools make of numbers.

A spreadsheet or a data frame on the way turns 1 into 1.0, "1" or "1.0". All of them are the id 1. A text with leading
zeros is an id of its own, and stands for its number only where no id is written like the one that is looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Id = int | str

_PLAIN = re.compile(r"(-?(?:0|[1-9][0-9]{0,40}))(?:\.0+)?")
_NUMBER = re.compile(r"([+-]?[0-9]{1,40})(?:\.0*)?")


def id_of(value: Any) -> Id | None:
    """The id that a value of the JSON stands for, None where it stands for none: a fraction, true, null, a list."""
    if isinstance(value, str):
        text = value.strip()
        plain = _PLAIN.fullmatch(text)
        return int(plain[1]) if plain else text
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def meant_by(used: Iterable[Id], listed: Iterable[Id]) -> Mapping[Id, Id]:
    """Id that is used but not listed -> the one listed id of the same number, where there is just one."""
    known = set(listed)
    strange = [key for key in used if key not in known]
    if not strange:
        return {}
    of_number: dict[int, list[Id]] = {}
    for key in known:
        number = _number(key)
        if number is not None:
            of_number.setdefault(number, []).append(key)
    found = {}
    for key in strange:
        number = _number(key)
        same = of_number.get(number, []) if number is not None else []
        if len(same) == 1:
            found[key] = same[0]
    return found


def _number(key: Id) -> int | None:
    if isinstance(key, int):
        return key
    number = _NUMBER.fullmatch(key)
    return int(number[1]) if number else None

"""Checks values that a family supplies per level; a mismatch is reported in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.geometry.points import LevelsError
from pipeline.runtime.errors import InputError


@contextmanager
def levels_told(source: str) -> Iterator[None]:
    """Within, code of a family runs, of the module or class `source`.

    Raises:
        InputError: what it gives is not of the levels that there are.
    """
    try:
        yield
    except LevelsError as error:
        raise InputError(f"{source}: {error}; see docs/families.md") from None

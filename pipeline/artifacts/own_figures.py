"""The figures that a family adds to the common ones of metrics.json."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from numbers import Integral, Real

from pipeline.runtime.errors import InputError

COUNTS = ("images", "detections")
"""Keys of metrics.json that stand beside the figures of all families."""


def own_figures(figures: object, common: Collection[str], source: str) -> dict[str, float]:
    """What a family's `figures` returned, as numbers of Python.

    Args:
        figures: numbers of Python or NumPy by name; one that does not exist is NaN.
        common: names of the figures that all families have.
        source: the family's module, for messages.

    Raises:
        InputError: it is not a mapping, a name is one of the common ones or no text, or a value is not a real number.
    """
    if not isinstance(figures, Mapping):
        raise InputError(f"{source}: figures returned a {type(figures).__name__}; return a dict of numbers by name")
    own: dict[str, float] = {}
    for name, value in figures.items():
        if not isinstance(name, str):
            raise InputError(f"{source}: figures has the key {name!r}, which is not text; name each figure")
        if name in common or name in COUNTS:
            raise InputError(f"{source}: figure {name!r} is one that all families have; give it another name")
        if isinstance(value, bool) or not isinstance(value, Real):
            raise InputError(
                f"{source}: figure {name!r} is a {type(value).__name__}; return a number, NaN where there is none, and "
                "write what is more than a number into a file"
            )
        own[name] = int(value) if isinstance(value, Integral) else float(value)
    return own

"""A preset's trainings made shorter or longer, all by one factor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.runtime.errors import InputError


def set_length(params: Mapping[str, Any], factor: float) -> None:
    """Multiply the iterations of every training by `factor`, its warm-up, and where its learning rate drops.

    Counts are rounded, a training has one iteration at least, and a drop comes before its end.

    Args:
        params: content of params.yaml, changed in place.

    Raises:
        InputError: the factor is not a number above 0.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise InputError(f"--length {factor:g}: give a number above 0, such as 0.1 for a tenth of the iterations")
    for schedule in _schedules(params):
        schedule["iterations"] = iterations = max(round(schedule["iterations"] * factor), 1)
        if "warmup_iterations" in schedule:
            schedule["warmup_iterations"] = round(schedule["warmup_iterations"] * factor)
        if "lr_drop_at" in schedule:
            last = max(iterations - 1, 1)
            drops = {min(max(round(drop * factor), 1), last) for drop in schedule["lr_drop_at"]}
            schedule["lr_drop_at"][:] = sorted(drops)


def _schedules(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every block that says how many iterations something runs."""
    for value in block.values():
        if isinstance(value, dict):
            if "iterations" in value:
                yield value
            yield from _schedules(value)

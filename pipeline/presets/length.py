"""A preset's trainings made shorter or longer, all by one factor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.params.schedule import Schedule
from pipeline.runtime.errors import InputError

_MOST = 1000


def set_length(params: Mapping[str, Any], factor: float) -> None:
    """Multiply the iterations of every training stage by `factor`, its warm-up, and where its learning rate drops.

    Counts are rounded, and a training has one iteration at least. A drop that would not come before its end comes one
    iteration before it, drops that fall together are one, and a training of one iteration has none. The trunk's own
    pre-training stays as it is: with much less of it the trunk is of no use.

    Args:
        params: content of params.yaml, changed in place.

    Raises:
        InputError: the factor is not above 0, or above `_MOST`.
    """
    if not 0 < factor <= _MOST:
        raise InputError(
            f"--length {factor:g}: give a number above 0, at most {_MOST:,}, such as 0.1 for a tenth of the iterations"
        )
    for section in params.values():
        if not (isinstance(section, dict) and Schedule.model_fields.keys() <= section.keys()):
            continue
        section["iterations"] = iterations = max(round(section["iterations"] * factor), 1)
        section["warmup_iterations"] = round(section["warmup_iterations"] * factor)
        drops = {min(max(round(drop * factor), 1), iterations - 1) for drop in section["lr_drop_at"]}
        section["lr_drop_at"][:] = sorted(drops - {0})

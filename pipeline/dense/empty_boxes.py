"""Detects training that ended with almost empty boxes, for which overlap losses have hardly any gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_LEAST = 0.999


def empty_boxes(history: Sequence[Mapping[str, float | int]], loss: str, stage: str, weight: float = 1.0) -> str | None:
    """A line about this, or None.

    The GIoU, DIoU and CIoU losses of a box without area inside its gt box are at least 1, and its gradient is 0 where a
    ReLU or a limit holds the sides at 0: one high rate early on can end there, and the losses of the classes fall all
    the same. A training of few iterations may not have left there yet.

    Args:
        history: rows of history.csv. loss: the column of the boxes' loss. stage: whose rate it was.
        weight: that the loss was multiplied by.
    """
    if not history or history[-1][loss] < _LEAST * weight:
        return None
    since = history[-1]["iteration"]
    for row in reversed(history):
        if row[loss] < _LEAST * weight:
            break
        since = row["iteration"]
    return (
        f"{loss} is {history[-1][loss] / weight:.3g} from iteration {since:g} on: the boxes are next to empty, where "
        f"it has hardly a gradient; lower {stage}.lr, or raise {stage}.warmup_iterations"
    )

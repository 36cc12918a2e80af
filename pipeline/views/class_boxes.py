"""Boxes coloured by class; a text names the class, the colours only help to follow it from image to image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.views.colours import class_colour
from pipeline.views.drawing import BoxLayer, Dash


def layers_by_class(
    boxes: np.ndarray, labels: np.ndarray, texts: Sequence[str], dashes: Sequence[Dash] = ()
) -> list[BoxLayer]:
    """One layer per box, the first on top: (N, 4) boxes, (N,) labels, a text and, if given, a line style each."""
    order = range(len(boxes) - 1, -1, -1)
    return [
        BoxLayer(boxes[i : i + 1], class_colour(int(labels[i])), [texts[i]], dash=dashes[i] if dashes else "solid")
        for i in order
    ]


def class_name(names: Sequence[str], label: int) -> str:
    """The name of a class, or its number if it has none; a label below 0 is an ignore region."""
    if label < 0:
        return "ignore region"
    return names[label] if label < len(names) else f"class {label}"

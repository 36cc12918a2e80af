"""Finds the image size at which boxes that are now too small for any anchor would fit.

A box is too small where no anchor reaches it at IoU .5, and one does once the image is larger: anchors keep their size
in pixels and their stride while boxes grow with the image. So larger sizes are tried, all boxes are compared with all
anchors anew at each, and the first is taken at which few enough are left below .5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np

from pipeline.geometry.anchors import Floats
from pipeline.params.resize import ResizeParams
from pipeline.preflight.anchor_fit import Placement
from pipeline.preflight.collecting import DatasetBoxes

_STEP = 32  # px, that the sides tried are multiples of
_GROWTH = 1.1  # from one size to the next, at least
_LARGEST = 16.0  # times the configured size
_LEAST_GAIN = 0.05  # share of the boxes that a larger size must reach, to be worth a word


@dataclass(frozen=True)
class LargerSize:
    """A size of section `resize`, and the share of boxes that no anchor reaches at IoU .5 there, 0..1."""

    params: ResizeParams
    below: float

    def as_text(self) -> str:
        """The parameters to set."""
        own = self.params
        if own.rule == "fixed":
            return f"resize.fixed_width to {own.fixed_width} and resize.fixed_height to {own.fixed_height}"
        return f"resize.shorter_side to {own.shorter_side} and resize.longer_side to {own.longer_side}"


def larger_size(
    gt: DatasetBoxes, resize: ResizeParams, placement: Placement, shapes: Floats, most_below: float
) -> LargerSize | None:
    """The smallest larger size at which at most the share `most_below` of the boxes is below IoU .5 with all anchors.

    Args:
        gt: boxes at the configured size, at least one.
        resize: the configured size.
        placement: where anchors lie.
        shapes: (A, 2) widths and heights of the anchors of a location, px.
        most_below: 0..1.

    Returns:
        Where no size does, the one of the smallest share; None where no size is worth it, that is where boxes are
        below .5 for another reason than being small.
    """
    now = _below(gt, placement, shapes, 1.0)
    best: LargerSize | None = None
    for factor, params in _larger(resize):
        below = _below(gt, placement, shapes, factor)
        if best is None or below < best.below:
            best = LargerSize(params, below)
        if below <= most_below:
            break
    return best if best and best.below <= now - _LEAST_GAIN else None


def _larger(resize: ResizeParams) -> Iterator[tuple[float, ResizeParams]]:
    """Larger sizes of the same proportions, and how many times larger each is."""
    own = resize.fixed_width if resize.rule == "fixed" else resize.shorter_side
    side = own
    while side < _LARGEST * own:
        side = ceil(max(side * _GROWTH, side + 1) / _STEP) * _STEP
        factor = side / own
        if resize.rule == "fixed":
            changed = {"fixed_width": side, "fixed_height": ceil(resize.fixed_height * factor)}
        else:
            changed = {"shorter_side": side, "longer_side": ceil(resize.longer_side * factor)}
        yield factor, resize.model_copy(update=changed)


def _below(gt: DatasetBoxes, placement: Placement, shapes: Floats, factor: float) -> float:
    sizes = np.rint(gt.sizes * factor).astype(np.int32)
    best = placement.best_iou((gt.boxes * np.float32(factor)), sizes, shapes)
    return float((best < 0.5).mean())

"""A family's targets for the locations of an image: which gt box each predicts, if any.

Shapes: G gt boxes, I regions of an image; N locations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.artifacts.dense_targets import StoredAssignment
from pipeline.geometry.points import on_grid
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.artifacts.ground_truth import GroundTruth
    from pipeline.artifacts.image_views import Entry
    from pipeline.dense.contract import TargetsPart, TrainPart
    from pipeline.geometry.points import Grid
    from pipeline.params.reading import Params


@dataclass(frozen=True)
class Truth:
    """What is known of an image, in pixels of the resized image as it is seen.

    Attributes:
        boxes: (G, 4) float32 trainable gt boxes. labels: (G,) int64, their classes, 1..C-1.
        regions: (I, 4) float32 crowd and ignore regions, where nothing may be taken for background.
    """

    boxes: np.ndarray
    labels: np.ndarray
    regions: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        """(G, 2) float64 width and height of the gt boxes, px, put on a grid as `edge_distances` does: decisions by
        them are those of the mirrored image."""
        own = on_grid(self.boxes)
        sides: np.ndarray = own[:, 2:] - own[:, :2]
        return sides


@dataclass(frozen=True)
class Assignment:
    """Of N locations.

    Attributes:
        labels: (N,) int64: the class 1..C-1 that a location is to predict, 0 background, -1 ignored.
        matched_gt: (N,) int64, the gt box of a location with a class; of others not read.
        quality: (N,) float32, 0..1, how well a location suits its gt box as the family measures it, such as an anchor's
            IoU or a point's centre-ness; for people to look at, no loss reads it. Of others not read.
    """

    labels: np.ndarray
    matched_gt: np.ndarray
    quality: np.ndarray


def truth_of(gt: GroundTruth, entry: Entry, width: int) -> Truth:
    """The ground truth of an image of `width` px as the entry sees it."""
    boxes, regions = (np.ascontiguousarray(own) for own in (gt.boxes(entry, width), gt.regions(entry, width)))
    return Truth(boxes, gt[entry.image_id][1], regions)


def assign(
    part: TargetsPart | TrainPart, truth: Truth, grid: Grid, size: tuple[int, int], params: Params
) -> Assignment:
    """The family's assignment of an image of (H, W) `size`, which is checked.

    Raises:
        InputError: it does not fit the locations and gt boxes.
    """
    own = part.assign(truth, grid, size, params)
    fault = _fault(own, truth, len(grid))
    if fault:
        raise InputError(f"{part.__name__}: assign gave {fault}; correct it")
    return own


def as_stored(own: Assignment, grid: Grid) -> StoredAssignment:
    """The stored form of an assignment of a grid's N locations, which training reads."""
    fg = np.flatnonzero(own.labels > 0)
    return StoredAssignment(
        fg,
        own.labels[fg],
        own.matched_gt[fg],
        own.quality[fg],
        np.packbits(own.labels < 0),
        grid,
    )


def _fault(own: Any, truth: Truth, count: int) -> str:
    if not isinstance(own, Assignment):
        return "None, no Assignment" if own is None else f"a {type(own).__name__}, no Assignment"
    for name, kind, words in (("labels", "i", "integers"), ("matched_gt", "i", "integers"), ("quality", "f", "floats")):
        values = getattr(own, name)
        if not isinstance(values, np.ndarray) or values.dtype.kind != kind:
            dtype = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
            return f"{name} of {dtype}, no array of {words}"
        if values.shape != (count,):
            return f"{name} of shape {values.shape} for {count} locations"
    fg = own.labels > 0
    matched, quality = own.matched_gt[fg], own.quality[fg]
    if len(matched) and not 0 <= matched.min() <= matched.max() < len(truth.boxes):
        return f"a matched_gt of {matched.min()} or {matched.max()} where there are {len(truth.boxes)} gt boxes"
    if (own.labels < -1).any() or (own.labels[fg] != truth.labels[matched]).any():
        return "a label that is not its gt box's class, 0 or -1"
    if not ((quality >= 0) & (quality <= 1)).all():
        return "a quality outside of 0 to 1"
    return ""

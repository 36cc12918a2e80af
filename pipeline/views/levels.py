"""The levels that a family's detector predicts on and pools from, without torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.building.layout import map_layout
from pipeline.families.registry import declared
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.points import Locations
from pipeline.geometry.pooling import roi_levels
from pipeline.params.reading import Params


def trunk_layout(params: Params) -> MapLayout:
    """The levels of the trunk's maps."""
    return map_layout(params.backbone)


def pooled_from(boxes: np.ndarray, layout: MapLayout) -> str:
    """How many of (N, 4) RoIs, px, are pooled from each level, as "level 0 (stride 4) 12"; nothing where there is one
    level."""
    layout = layout.pooled
    if len(layout.levels) == 1:
        return ""
    counts = np.bincount(roi_levels(boxes, layout.strides), minlength=len(layout.levels))
    return ", ".join(
        f"level {level} (stride {stride}) {count}"
        for level, (stride, count) in enumerate(zip(layout.strides, counts, strict=True))
        if count
    )


def head_layout(params: Params) -> MapLayout:
    """The levels that the heads predict on: those of a dense family's locations, or else the trunk's.

    Args:
        params: the whole of params.yaml, with the family's name.

    Raises:
        InputError: the family's part `dense_targets` has no `locations`.
    """
    trunk = trunk_layout(params)
    locations: Callable[[MapLayout, Params], Locations] | None = declared(params.family, "dense_targets", "locations")
    return locations(trunk, params).layout if locations else trunk

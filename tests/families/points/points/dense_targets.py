"""Which points are to find which object."""

from __future__ import annotations

import numpy as np
from pipeline.families.points.locations import locations
from pipeline.families.points.params import PointsParams

from pipeline.dense.assignment import Assignment, Truth
from pipeline.geometry.points import Grid, edge_distances, inside_any
from pipeline.params.augment import AugmentParams
from pipeline.params.reading import Params

__all__ = ["SECTIONS", "assign", "locations"]

SECTIONS = {"points": PointsParams, "augment": AugmentParams}


def assign(truth: Truth, grid: Grid, size: tuple[int, int], params: Params) -> Assignment:
    """A point near the centre of an object, and inside it, is to find it, on the level for objects of its size; of
    several the smallest. Of other points those in an ignore region are ignored."""
    centres, levels = grid.centres(), grid.levels()
    distances = edge_distances(centres, truth.boxes)
    sides = truth.sides
    own_level = np.searchsorted(params.points.largest_side, sides.max(axis=1, initial=0.0))
    off_centre = np.abs(distances[..., :2] - distances[..., 2:]).max(axis=2) / 2
    reach = params.points.radius * np.asarray(grid.strides)[levels]
    taken = (distances.min(axis=2) > 0) & (off_centre < reach[:, None]) & (levels[:, None] == own_level)
    area = np.where(taken, sides.prod(axis=1), np.inf)
    matched = area.argmin(axis=1) if len(truth.boxes) else np.zeros(len(grid), np.int64)
    fg = taken.any(axis=1)
    labels = -inside_any(centres, truth.regions).astype(np.int64)
    labels[fg] = truth.labels[matched[fg]]
    quality = np.zeros(len(grid), np.float32)
    low, high = np.split(distances[fg, matched[fg]], 2, axis=1)
    quality[fg] = np.sqrt((np.minimum(low, high) / np.maximum(low, high)).prod(axis=1))
    return Assignment(labels, matched, quality)

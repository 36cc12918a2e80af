"""Which locations predict which object (FCOS, sections 3.1 and 3.2; centre sampling of its improved version).

The original clips the box around a centre to the gt box and takes the locations in it; detectron2 and torchvision take
those nearer to the centre than the radius, in x and in y, that lie in the gt box. These are the same locations.

Shapes: N locations of an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.building.layout import map_layout
from pipeline.dense.assignment import Assignment, Truth
from pipeline.families.fcos.locations import locations, points_of
from pipeline.families.fcos.params import FcosParams
from pipeline.families.fcos.ranges import ranges_of
from pipeline.geometry.points import Grid, edge_distances, inside_any
from pipeline.params.reading import Params

__all__ = ["SECTIONS", "assign", "locations", "reasons_of"]

SECTIONS = {"fcos": FcosParams}


class Reasons(NamedTuple):
    """Of each of N locations whether it lies `inside` an object, `near` its centre, and in the `range` of its level,
    (N,) bool; and its `centreness`, (N,) float64, of those inside."""

    inside: npt.NDArray[np.bool_]
    near: npt.NDArray[np.bool_]
    in_range: npt.NDArray[np.bool_]
    centreness: npt.NDArray[np.float64]


def reasons_of(boxes: npt.NDArray[np.float32], grid: Grid, size: tuple[int, int], params: Params) -> Iterator[Reasons]:
    """Of each of (G, 4) boxes in an image of (H, W) `size`, why locations may find it or not."""
    own, levels = params.fcos, grid.levels()
    points, strides = points_of(grid, size, params), np.asarray(grid.strides, np.float64)[levels]
    least, most = np.asarray(ranges_of(map_layout(params.backbone), own))[levels].T
    reach = np.inf if own.centre_radius is None else own.centre_radius * strides
    for box in boxes:
        distances = edge_distances(points, box[None])[:, 0]
        near, far = np.split(distances, 2, axis=1)
        inside, longest = distances.min(axis=1) > 0, distances.max(axis=1)
        in_range = (longest > least) & (longest < most)
        if own.range_borders == "closed":
            in_range |= (longest == least) | (longest == most)
        centreness = np.zeros(len(points))
        low, high = np.minimum(near, far)[inside], np.maximum(near, far)[inside]
        centreness[inside] = np.sqrt((low / high).prod(axis=1))
        yield Reasons(inside, np.abs(near - far).max(axis=1) / 2 < reach, in_range, centreness)


def assign(truth: Truth, grid: Grid, size: tuple[int, int], params: Params) -> Assignment:
    """A location inside an object, near its centre if so wanted, is to find it where the longest distance to an edge is
    in its level's range; of several objects the smallest, of equals the first. Of other locations those in an ignore
    region are ignored. The quality is the centre-ness."""
    smallest, matched = np.full(len(grid), np.inf), np.zeros(len(grid), np.int64)
    quality = np.zeros(len(grid), np.float32)
    areas = truth.sides.prod(axis=1)
    for gt, own in enumerate(reasons_of(truth.boxes, grid, size, params)):
        taken = own.inside & own.near & own.in_range & (areas[gt] < smallest)
        smallest[taken], matched[taken], quality[taken] = areas[gt], gt, own.centreness[taken]
    labels = -inside_any(points_of(grid, size, params), truth.regions).astype(np.int64)
    fg = smallest < np.inf
    labels[fg] = truth.labels[matched[fg]]
    return Assignment(labels, matched, quality)

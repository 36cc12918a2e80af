"""Which locations are to find which object (FCOS, section 3.1 and 3.2; centre sampling of its improved version).

The original clips the box around a centre to the gt box and takes the locations in it; detectron2 and torchvision take
those nearer to the centre than the radius, in x and in y, that lie in the gt box. These are the same locations.

Shapes: N locations of an image.
"""

from __future__ import annotations

import numpy as np

from pipeline.building.layout import map_layout
from pipeline.dense.assignment import Assignment, Truth
from pipeline.families.fcos.locations import locations, points_of
from pipeline.families.fcos.params import FcosParams
from pipeline.families.fcos.ranges import ranges_of
from pipeline.geometry.points import Grid, edge_distances, inside_any
from pipeline.params.reading import Params

__all__ = ["SECTIONS", "assign", "locations"]

SECTIONS = {"fcos": FcosParams}


def assign(truth: Truth, grid: Grid, size: tuple[int, int], params: Params) -> Assignment:
    """A location inside an object, near its centre if so wanted, is to find it where the longest distance to an edge is
    in its level's range; of several objects the smallest, of equals the first. Of other locations those in an ignore
    region are ignored. The quality is the centre-ness."""
    own, levels = params.fcos, grid.levels()
    points, strides = points_of(grid, size, params), np.asarray(grid.strides, np.float64)[levels]
    least, most = np.asarray(ranges_of(map_layout(params.backbone), own))[levels].T
    reach = np.inf if own.centre_radius is None else own.centre_radius * strides
    smallest, matched = np.full(len(grid), np.inf), np.zeros(len(grid), np.int64)
    quality = np.zeros(len(grid), np.float32)
    for gt, area in enumerate(truth.sides.prod(axis=1)):
        distances = edge_distances(points, truth.boxes[gt : gt + 1])[:, 0]
        near, far = np.split(distances, 2, axis=1)
        off_centre, longest = np.abs(near - far).max(axis=1) / 2, distances.max(axis=1)
        in_range = (longest > least) & (longest < most)
        if own.range_borders == "closed":
            in_range |= (longest == least) | (longest == most)
        taken = (distances.min(axis=1) > 0) & (off_centre < reach) & in_range & (area < smallest)
        smallest[taken], matched[taken] = area, gt
        near, far = near[taken], far[taken]
        quality[taken] = np.sqrt((np.minimum(near, far) / np.maximum(near, far)).prod(axis=1))
    labels = -inside_any(points, truth.regions).astype(np.int64)
    fg = smallest < np.inf
    labels[fg] = truth.labels[matched[fg]]
    return Assignment(labels, matched, quality)

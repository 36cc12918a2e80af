"""The default boxes (Liu et al. 2016, section 2.2), without torch.

Shapes: A default boxes of a cell; N of an image, in the order of its locations.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.families.ssd.params import SSDParams
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.points import Floats, Grid, Locations
from pipeline.params.reading import Params


def locations(trunk: MapLayout, params: Params) -> Locations:
    """The trunk's levels, with the default boxes of a cell of each."""
    return Locations(trunk, tuple(2 + 2 * len(own) for own in params.ssd.ratios))


def box_shares(params: SSDParams) -> list[Floats]:
    """(A, 2) widths and heights of each level's default boxes, as shares of the image's.

    A square of the level's scale; one of the geometric mean of that scale and the next; and of each ratio the box that
    is so many times as wide as high and the one that is so many times as high as wide, with the first square's area.
    """
    levels = []
    for scale, following, ratios in zip(params.scales, params.scales[1:], params.ratios, strict=False):
        mean = math.sqrt(scale * following)
        sides = [(scale, scale), (mean, mean)]
        for root in map(math.sqrt, ratios):
            sides += [(scale * root, scale / root), (scale / root, scale * root)]
        own = np.array(sides)
        levels.append(np.minimum(own, 1.0) if params.clip == "sides" else own)
    return levels


def default_boxes(grid: Grid, size: tuple[int, int], params: SSDParams) -> Floats:
    """The (N, 4) float64 xyxy default boxes of an image of (H, W) `size`, px, each around the centre of its cell."""
    height, width = size
    tiled = [np.tile(own, (high * wide, 1)) for own, (high, wide) in zip(box_shares(params), grid.cells, strict=True)]
    half = np.concatenate(tiled) * [width / 2, height / 2]
    centres = grid.centres()
    return np.concatenate([centres - half, centres + half], axis=1)

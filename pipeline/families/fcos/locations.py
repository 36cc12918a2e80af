"""Where the head predicts, and the places of its locations in the image; without torch.

A placement is `centred`: on the centres of cells, as in the paper and detectron2; or `torchvision`: on their upper left
corners, and as far apart as whole pixels of the padded image come on each cell, which is less than the stride where a
level has a part of a cell more than the padded image (`pipeline.geometry.anchors`). torchvision pads all images of a
batch to one size before; here an image lies as if it were alone.

Shapes: H, W image height, width; N locations of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.building.layout import map_layout, one_depth
from pipeline.geometry.anchors import first_location, level_steps
from pipeline.geometry.points import Locations

if TYPE_CHECKING:
    from pipeline.geometry.layout import Level, MapLayout
    from pipeline.geometry.points import Grid
    from pipeline.params.reading import Params


def locations(trunk: MapLayout, params: Params) -> Locations:
    """One location per cell of each of the trunk's maps.

    Raises:
        InputError: the maps are of several depths.
    """
    one_depth(trunk, "head of FCOS")
    return Locations(trunk, (1,) * len(trunk.levels))


def points_of(grid: Grid, size: tuple[int, int], params: Params) -> npt.NDArray[np.float64]:
    """The (N, 2) x, y of the locations of an image of (H, W) `size`, px."""
    first, found = first_location(params.fcos.placement), []
    for cells, steps in zip(grid.cells, steps_of(size, params), strict=True):
        y, x = ((np.arange(count) + first) * step for count, step in zip(cells, steps, strict=True))
        found.append(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))
    return np.concatenate(found)


def steps_of(size: tuple[Any, Any], params: Params, most: Callable[[Any, Any], Any] = max) -> list[tuple[Any, Any]]:
    """Pixels from one location to the next below and to the next at the right, of each level of an image of (H, W)
    `size`, whose sides may be symbols of a trace.

    Args:
        most: the larger of two sides; `torch.sym_max` for symbols.
    """
    layout, placement = map_layout(params.backbone), params.fcos.placement
    if placement == "centred":
        return [(stride, stride) for stride in layout.strides]
    axes = []
    for side in size:
        padded = -(-most(side, layout.least_side) // layout.multiple) * layout.multiple
        cells = [_cells(padded, level) for level in layout.levels]
        axes.append([level_steps(layout, cells, level, placement) for level in range(len(cells))])
    return list(zip(*axes, strict=True))


def _cells(side: Any, level: Level) -> Any:
    return -(-side // level.stride) if level.round_up else side // level.stride

"""The anchors as tensors.

Shapes: B images; N locations of an image, which are its anchors; F fg locations of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pipeline.building.anchors import anchor_grid
from pipeline.building.layout import map_layout
from pipeline.families.retinanet.locations import steps_of
from pipeline.geometry.layout import MapLayout
from pipeline.nn.anchors import AnchorGrid, KeptAnchors, joined

if TYPE_CHECKING:
    from pipeline.families.retinanet.locations import Steps
    from pipeline.geometry.anchors import AnchorPlacement
    from pipeline.geometry.points import Grid
    from pipeline.params.reading import Params


def anchors_of(grid: Grid, size: tuple[int, int], params: Params, device: torch.device) -> Tensor:
    """The (N, 4) float32 anchors, px, at the locations of an image of (H, W) `size`.

    The sides and the numbers of cells may be symbols of a trace.
    """
    layout = map_layout(params.backbone)
    if not torch.compiler.is_exporting():
        steps = steps_of(layout, size, params.anchors.placement)
        return _kept(params, layout, grid, device, [steps])[0]
    own = anchor_grid(params.anchors, layout)
    levels = enumerate(zip(grid.cells, own.steps(_padded_cells(layout, size)), strict=True))
    return joined([own.of_level(level, *cells, steps) for level, (cells, steps) in levels]).float()


def anchors_at(location: Tensor, image: Tensor, grid: Grid, sizes: Sequence[tuple[int, int]], params: Params) -> Tensor:
    """The (F, 4) float32 anchors, px, at F locations of a padded batch.

    Args:
        location: (F,) among the N of `grid`, the padded images' locations. image: (F,) among the B.
        sizes: (H, W) of each image without padding, on which a level's steps may depend.
    """
    layout = map_layout(params.backbone)
    steps = [steps_of(layout, size, params.anchors.placement) for size in sizes]
    kinds = list(dict.fromkeys(steps))
    kept = _kept(params, layout, grid, location.device, kinds)
    if len(kinds) == 1:
        return kept[0][location]
    kind = torch.tensor([kinds.index(own) for own in steps], device=location.device)
    return torch.stack(kept)[kind[image], location]


def _kept(params: Params, layout: MapLayout, grid: Grid, device: torch.device, kinds: Sequence[Steps]) -> list[Tensor]:
    """The (N, 4) anchors at all locations, for each way in which steps may be."""
    own = params.anchors
    lie = (own.placement, own.whole_sizes)
    kept = _made_once(own.base_size, tuple(own.ratios), tuple(own.scales), layout, *lie)
    with torch.inference_mode(False):  # as training may ask for what detection has made
        return [kept(grid.cells, device, steps) for steps in kinds]


@lru_cache(maxsize=4)
def _made_once(
    base_size: float,
    ratios: tuple[float, ...],
    scales: tuple[float, ...],
    layout: MapLayout,
    placement: AnchorPlacement,
    whole_sizes: bool,
) -> KeptAnchors:
    return KeptAnchors(AnchorGrid(base_size, ratios, scales, layout, placement, whole_sizes))


def _padded_cells(layout: MapLayout, size: Sequence[Any]) -> list[tuple[Any, Any]]:
    """`MapLayout.sizes` of sides that are symbols."""
    multiple, found = layout.multiple, []
    least = -(-layout.least_side // multiple) * multiple
    padded = [torch.sym_max((side + (multiple - 1)) // multiple * multiple, least) for side in size]
    for level in layout.levels:
        more = level.stride - 1 if level.round_up else 0
        found.append(tuple((side + more) // level.stride for side in padded))
    return found

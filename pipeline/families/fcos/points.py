"""The locations and boxes of FCOS as tensors.

Shapes: B images; H, W image height, width; N locations of an image; M boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pipeline.families.fcos.locations import steps_of
from pipeline.geometry.anchors import first_location
from pipeline.geometry.points import Grid
from pipeline.params.reading import Params


def points_in_image(grid: Grid, size: tuple[Any, Any], params: Params, device: torch.device) -> Tensor:
    """The (N, 2) float32 x, y of locations of an image of (H, W) `size`, px; sides and numbers of cells may be symbols
    of a trace.

    Args:
        grid: those of the image, or of the padded image.
    """
    first, found = first_location(params.fcos.placement), []
    for (high, wide), (down, right) in zip(grid.cells, steps_of(size, params, torch.sym_max), strict=True):
        y, x = (
            (torch.arange(count, dtype=torch.float32, device=device) + first) * step
            for count, step in ((high, down), (wide, right))
        )
        found.append(torch.stack([x[None].expand(high, -1), y[:, None].expand(-1, wide)], dim=-1).reshape(-1, 2))
    return torch.cat(found)


def points_in_batch(grid: Grid, sizes: Sequence[tuple[int, int]], params: Params, device: torch.device) -> Tensor:
    """The same of B images of (H, W) `sizes`, each padded to `grid`, (B, N, 2)."""
    if params.fcos.placement == "centred":  # wherever an image ends
        return points_in_image(grid, sizes[0], params, device).expand(len(sizes), -1, -1)
    return torch.stack([points_in_image(grid, size, params, device) for size in sizes])


def boxes_at(points: Tensor, edges: Tensor) -> Tensor:
    """(M, 4) boxes, px, around (M, 2) points, from the (M, 4) distances to their left, top, right and bottom edges."""
    low, high = edges.split(2, dim=1)
    return torch.cat([points - low, points + high], dim=1)

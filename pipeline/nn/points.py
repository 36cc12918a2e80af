"""Locations of dense heads as tensors; `pipeline.geometry.points` defines them.

Shapes: B images; N locations of an image, of all levels; Fh, Fw feature map height, width; A predictions of a cell; K
values of a prediction.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.geometry.points import Grid, LevelsError


def centres_and_strides(grid: Grid, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """(N, 2) float32 x, y of the locations, px, and the (N,) float32 stride of the level of each.

    The numbers of cells may be symbols of a trace.
    """
    centres, strides = [], []
    for (high, wide), stride, each in zip(grid.cells, grid.strides, grid.per_cell, strict=True):
        y, x = ((torch.arange(count, dtype=torch.float32, device=device) + 0.5) * stride for count in (high, wide))
        both = torch.stack([x[None].expand(high, -1), y[:, None].expand(-1, wide)], dim=-1)
        own = both[:, :, None].expand(-1, -1, each, -1).reshape(-1, 2)
        centres.append(own)
        strides.append(torch.full_like(own[:, 0], stride))
    return torch.cat(centres), torch.cat(strides)


def in_one_row(maps: Sequence[Tensor], per_cell: Sequence[int]) -> Tensor:
    """Outputs of convolutions per location: (B, A * K, Fh, Fw) of each level to (B, N, K) float32."""
    if len(maps) != len(per_cell):
        raise LevelsError(f"maps of {len(maps)} levels, and locations of {len(per_cell)}: give one map for each level")
    levels = [
        own.float().permute(0, 2, 3, 1).reshape(own.shape[0], own.shape[2] * own.shape[3] * each, -1)
        for own, each in zip(maps, per_cell, strict=True)
    ]
    return torch.cat(levels, dim=1)

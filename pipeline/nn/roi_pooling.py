"""RoI pooling over levels: each RoI is pooled from the map whose cells suit its size (FPN, section 4.2).

Shapes: B images; D channels; Fh, Fw feature map height, width; R RoIs; S cells of a pooled side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.geometry.layout import MapLayout
from pipeline.geometry.pooling import CANONICAL_SIDE, CANONICAL_STRIDE, Pooling
from pipeline.nn.operators import roi_pool
from pipeline.nn.roi_align import roi_align

POOLS: dict[str, Callable[..., Tensor]] = {"roi_pool": roi_pool, "roi_align": roi_align}


def roi_levels(rois: Tensor, strides: Sequence[int]) -> Tensor:
    """(R,) int64: the level of each of (R, 4) RoIs, pixels, as `pipeline.geometry.pooling.roi_levels` says."""
    sides = (rois[:, 2:] - rois[:, :2]).double()
    side = (sides[:, 0] * sides[:, 1]).clamp(min=1e-9).sqrt()
    wanted = torch.log2(side * (CANONICAL_STRIDE / CANONICAL_SIDE / strides[0]))
    return torch.floor(wanted + 1e-6).clamp(0, len(strides) - 1).long()


def pool_levels(maps: Sequence[Tensor], rois: Sequence[Tensor], layout: MapLayout, pooling: Pooling) -> Tensor:
    """Pool each RoI from the map of its level.

    Args:
        maps: (B, D, Fh, Fw) of each level of `layout`. rois: B tensors of (R_b, 4) boxes in resized pixels.

    Returns:
        (R, D, S, S) float32.
    """
    # RoIs in bf16 would lie up to 2 px off.
    indexed = torch.cat([torch.cat([r.new_full((len(r), 1), i), r], dim=1) for i, r in enumerate(rois)]).float()
    maps = [own for own, level in zip(maps, layout.levels, strict=True) if level.pooled]
    strides = layout.pooled.strides
    if len(maps) == 1:
        return _pool(maps[0], indexed, strides[0], pooling, counts=[len(r) for r in rois])
    level = roi_levels(indexed[:, 1:], strides)
    rows = [torch.nonzero(level == index).squeeze(1) for index in range(len(maps))]
    pooled = [_pool(own, indexed[row], stride, pooling) for own, row, stride in zip(maps, rows, strides, strict=True)]
    return torch.cat(pooled)[torch.argsort(torch.cat(rows))]


def _pool(maps: Tensor, rois: Tensor, stride: int, pooling: Pooling, counts: Sequence[int] | None = None) -> Tensor:
    """(R, 5) RoIs, map index and pixels, from the (B, D, Fh, Fw) map of one level."""
    operator = POOLS[pooling.kind]
    if pooling.kind == "roi_pool":
        return operator(maps.float(), rois, 1.0 / stride, pooling.size)
    return operator(maps.float(), rois, 1.0 / stride, pooling.size, pooling.samples, pooling.aligned, counts=counts)

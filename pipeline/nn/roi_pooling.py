"""RoI pooling over levels: each RoI is pooled from the map whose cells suit its size (FPN, section 4.2).

Shapes: L levels; B images; D channels; Fh, Fw feature map height, width; R RoIs; S cells of a pooled side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.geometry.pooling import CANONICAL_SIDE, CANONICAL_STRIDE
from pipeline.nn.operators import roi_pool
from pipeline.nn.roi_align import roi_align

POOLS = {"roi_pool": roi_pool, "roi_align": roi_align}


def roi_levels(rois: Tensor, strides: Sequence[int]) -> Tensor:
    """(R,) int64: the level of each of (R, 4) RoIs, pixels, as `pipeline.geometry.pooling.roi_levels` says."""
    sides = (rois[:, 2:] - rois[:, :2]).double()
    side = (sides[:, 0] * sides[:, 1]).clamp(min=1e-9).sqrt()
    wanted = torch.log2(side * (CANONICAL_STRIDE / CANONICAL_SIDE / strides[0]))
    return torch.floor(wanted + 1e-6).clamp(0, len(strides) - 1).long()


def pool_levels(pool: str, maps: Sequence[Tensor], rois: Sequence[Tensor], strides: Sequence[int], size: int) -> Tensor:
    """Pool each RoI from the map of its level.

    Args:
        pool: a name of `POOLS`.
        maps: L tensors (B, D, Fh, Fw). rois: B tensors of (R_b, 4) boxes in resized pixels.
        strides: of the L levels. size: S.

    Returns:
        (R, D, S, S) float32.
    """
    # RoIs in bf16 would lie up to 2 px off.
    indexed = torch.cat([torch.cat([r.new_full((len(r), 1), i), r], dim=1) for i, r in enumerate(rois)]).float()
    if len(maps) == 1:
        known = {"counts": [len(r) for r in rois]} if pool == "roi_align" else {}
        return POOLS[pool](maps[0].float(), indexed, 1.0 / strides[0], size, **known)
    level = roi_levels(indexed[:, 1:], strides)
    rows = [torch.nonzero(level == index).squeeze(1) for index in range(len(maps))]
    pooled = [
        POOLS[pool](own.float(), indexed[row], 1.0 / stride, size)
        for own, row, stride in zip(maps, rows, strides, strict=True)
    ]
    return torch.cat(pooled)[torch.argsort(torch.cat(rows))]

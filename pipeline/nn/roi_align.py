"""RoIAlign (Mask R-CNN, section 3), half-pixel aligned, as two products of matrices.

A bin is the mean of `samples` x `samples` bilinear samples on a grid, so it is separable: the weights of the rows times
the map times the weights of the columns. On a CPU the compiled kernel walks over every sample of every channel in one
thread, and products take about a quarter of its time (benchmarks/roi_align.py). On a GPU the kernel stays, unless
deterministic algorithms are asked for: its gradients are added up in whatever order threads come along, those of
products in a fixed one.

Shapes: B images; D channels; Fh, Fw feature map height, width; R RoIs; S cells of a pooled side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.nn.operators import compiled_roi_align

_ROIS_AT_ONCE = 128  # bounds the product in between, which is R x S x Fw x D


def roi_align(
    maps: Tensor, rois: Tensor, scale: float, size: int, samples: int = 2, *, counts: Sequence[int] | None = None
) -> Tensor:
    """Pool each RoI from its map.

    Args:
        maps: (B, D, Fh, Fw) floats. rois: (R, 5) map index and xyxy in pixels, of the maps' dtype.
        scale: cells per pixel. size: S. samples: on each axis of a bin.
        counts: B numbers of RoIs, which lie map after map; None: they lie in any order, which is read off the device.

    Returns:
        (R, D, S, S) of the maps' dtype.
    """
    if maps.is_cuda and not torch.are_deterministic_algorithms_enabled():
        return compiled_roi_align(maps, rois, scale, size, samples)
    with torch.autocast(maps.device.type, enabled=False):
        if counts is not None:
            own = [part[:, 1:] for part in rois.split(list(counts))]
            return _pool_each(maps, own, scale, size, samples)
        rows = [torch.nonzero(rois[:, 0] == index).squeeze(1) for index in range(len(maps))]
        pooled = _pool_each(maps, [rois[row, 1:] for row in rows], scale, size, samples)
        return pooled[torch.argsort(torch.cat(rows))]


def _pool_each(maps: Tensor, corners: Sequence[Tensor], scale: float, size: int, samples: int) -> Tensor:
    """(R, D, S, S) of the RoIs of each map, (R_b, 4) xyxy in pixels, map after map."""
    parts = [
        _pool(image, some * scale - 0.5, size, samples)
        for image, own in zip(maps, corners, strict=True)
        for some in own.split(_ROIS_AT_ONCE)
        if len(some)
    ]
    return torch.cat(parts) if parts else maps.new_zeros(0, maps.shape[1], size, size) + 0 * maps.sum()


def _pool(image: Tensor, corners: Tensor, size: int, samples: int) -> Tensor:
    """One (D, Fh, Fw) map and the (R, 4) corners of its RoIs, in cells counted from the first cell's centre."""
    depth, height, width = image.shape
    of_rows = _bin_weights(corners[:, 1], corners[:, 3], height, size, samples)
    of_columns = _bin_weights(corners[:, 0], corners[:, 2], width, size, samples)
    cells = image.permute(1, 2, 0).reshape(height, width * depth)
    by_rows = (of_rows.reshape(-1, height) @ cells).reshape(len(corners), size, width, depth)
    return (of_columns[:, None] @ by_rows).permute(0, 3, 1, 2)


def _bin_weights(start: Tensor, end: Tensor, cells: int, size: int, samples: int) -> Tensor:
    """(R, S, cells): how much each cell of an axis counts in each bin of the stretch from `start` to `end` (R,)."""
    steps = (torch.arange(size * samples, dtype=start.dtype, device=start.device) + 0.5) / (size * samples)
    places = start[:, None] + (end - start)[:, None] * steps
    # A sample up to one cell outside takes the border's value, one further out counts 0.
    outside = (places < -1) | (places > cells)
    distance = places.clamp(0, cells - 1)[..., None] - torch.arange(cells, dtype=start.dtype, device=start.device)
    weights = (1 - distance.abs()).clamp(min=0).masked_fill(outside[..., None], 0)
    return weights.unflatten(1, (size, samples)).mean(dim=2)

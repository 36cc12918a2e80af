"""RoIAlign (Mask R-CNN, section 3), half-pixel aligned, as two products of matrices.

A bin is the mean of `samples` x `samples` bilinear samples on a grid, so it is separable: the weights of the rows times
the map times the weights of the columns. On a CPU the compiled kernel walks over every sample of every channel in one
thread, and products take about a quarter of its time (benchmarks/roi_align.py). On a GPU the kernel stays, unless
deterministic algorithms are asked for: its gradients are added up in whatever order threads come along, those of
products in a fixed one.

Shapes: B images; D channels; Fh, Fw feature map height, width; R RoIs; S cells of a pooled side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.detector.operators import compiled_roi_align

_ROIS_AT_ONCE = 128  # bounds the product in between, which is R x S x Fw x D


def roi_align(maps: Tensor, rois: Tensor, scale: float, size: int, samples: int = 2) -> Tensor:
    """Pool each RoI from its map.

    Args:
        maps: (B, D, Fh, Fw) floats. rois: (R, 5) map index and xyxy in pixels, of the maps' dtype.
        scale: cells per pixel. size: S. samples: on each axis of a bin.

    Returns:
        (R, D, S, S) of the maps' dtype.
    """
    if maps.is_cuda and not torch.are_deterministic_algorithms_enabled():
        return compiled_roi_align(maps, rois, scale, size, samples)
    with torch.autocast(maps.device.type, enabled=False):
        rows, parts = [], []
        for index, image in enumerate(maps):
            for own in torch.nonzero(rois[:, 0] == index).squeeze(1).split(_ROIS_AT_ONCE):
                rows.append(own)
                parts.append(_pool(image, rois[own, 1:] * scale - 0.5, size, samples))
        if not parts:
            return maps.new_zeros(0, maps.shape[1], size, size) + 0 * maps.sum()
        order, pooled = torch.cat(rows), torch.cat(parts)
        in_order = bool((order[1:] > order[:-1]).all())
        return pooled if in_order else pooled[torch.argsort(order)]


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

"""RoIAlign (Mask R-CNN, section 3).

A bin is the mean of `samples` x `samples` bilinear samples on a grid. On a CPU the compiled kernel walks over every
sample of every channel in one thread; sums of few cells by embedding bags (`roi_align_sums`) take a fifth to a tenth
of its time (benchmarks/roi_align.py). Small maps of detectors with one map are pooled as two products of matrices, the
weights of the rows times the map times the weights of the columns: so have their results been computed.

On a GPU the kernel stays, unless deterministic algorithms are asked for: its gradients are added up in whatever order
threads come along, those of products in a fixed one.

Shapes: B images; D channels; Fh, Fw feature map height, width; R RoIs; S cells of a pooled side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.nn.operators import compiled_roi_align
from pipeline.nn.roi_align_places import placed, sample_places
from pipeline.nn.roi_align_sums import align_by_sums

_ROIS_AT_ONCE = 128  # bounds the product in between, which is R x S x Fw x D
_LARGEST_SIDE, _MOST_CELLS = 7, 1800  # pooled sides and maps, Fh x Fw, that products are kept for


def roi_align(
    maps: Tensor,
    rois: Tensor,
    scale: float,
    size: int,
    samples: int = 2,
    aligned: bool = True,
    *,
    counts: Sequence[int] | None = None,
) -> Tensor:
    """Pool each RoI from its map.

    Args:
        maps: (B, D, Fh, Fw) floats. rois: (R, 5) map index and xyxy in pixels, of the maps' dtype.
        scale: cells per pixel. size: S.
        samples: on each axis of a bin; 0: one per cell that the RoI has there, rounded up. aligned: whether a cell's
            centre lies half a cell from its corner; if not, it lies on the corner, and no RoI is shorter than a cell.
        counts: of detectors with one map, the B numbers of RoIs, which lie map after map; None: they lie in any order.

    Returns:
        (R, D, S, S) of the maps' dtype.
    """
    deterministic = torch.are_deterministic_algorithms_enabled()
    if maps.is_cuda and not deterministic:
        return compiled_roi_align(maps, rois, scale, size, samples, aligned)
    small = size <= _LARGEST_SIDE and maps.shape[2] * maps.shape[3] <= _MOST_CELLS
    kept = counts is not None and small and samples == 2 and aligned
    with torch.autocast(maps.device.type, enabled=False):
        if not maps.is_cuda and not kept:
            return align_by_sums(maps, rois, scale, size, samples, aligned)
        return align_by_products(maps, rois, scale, size, samples, aligned, counts=counts)


def align_by_products(
    maps: Tensor,
    rois: Tensor,
    scale: float,
    size: int,
    samples: int,
    aligned: bool,
    *,
    counts: Sequence[int] | None = None,
) -> Tensor:
    """As `roi_align`, by two products of matrices, whose cost grows with the size of the map."""

    def pool_each(corners: Sequence[Tensor]) -> Tensor:
        parts = [
            _pool(image, *placed(some, scale, aligned), size, samples)
            for image, own in zip(maps, corners, strict=True)
            for some in own.split(_ROIS_AT_ONCE)
            if len(some)
        ]
        return torch.cat(parts) if parts else maps.new_zeros(0, maps.shape[1], size, size) + 0 * maps.sum()

    if counts is not None:
        return pool_each([part[:, 1:] for part in rois.split(list(counts))])
    rows = [torch.nonzero(rois[:, 0] == index).squeeze(1) for index in range(len(maps))]
    return pool_each([rois[row, 1:] for row in rows])[torch.argsort(torch.cat(rows))]


def _pool(image: Tensor, start: Tensor, length: Tensor, size: int, samples: int) -> Tensor:
    """One (D, Fh, Fw) map and where its RoIs begin and how long they are, (R, 2) and (R, 2) x and y in cells."""
    depth, height, width = image.shape
    of_rows = _bin_weights(start[:, 1], length[:, 1], height, size, samples)
    of_columns = _bin_weights(start[:, 0], length[:, 0], width, size, samples)
    cells = image.permute(1, 2, 0).reshape(height, width * depth)
    by_rows = (of_rows.reshape(-1, height) @ cells).reshape(len(start), size, width, depth)
    return (of_columns[:, None] @ by_rows).permute(0, 3, 1, 2)


def _bin_weights(start: Tensor, length: Tensor, cells: int, size: int, samples: int) -> Tensor:
    """(R, S, cells): how much each cell of an axis counts in each bin of the stretch of `length` from `start` (R,)."""
    if samples:
        steps = (torch.arange(size * samples, dtype=start.dtype, device=start.device) + 0.5) / (size * samples)
        places = start[:, None] + length[:, None] * steps
        return _shares(places, cells).unflatten(1, (size, samples)).mean(dim=2)
    places, counts = sample_places(start, length, size, samples)
    shares = _shares(places.flatten(1), cells).unflatten(1, (size, -1))
    left_out = torch.arange(places.shape[2], device=start.device) >= counts[:, None]
    return shares.masked_fill(left_out[:, None, :, None], 0).sum(dim=2) / counts.clamp(min=1)[:, None, None]


def _shares(places: Tensor, cells: int) -> Tensor:
    """(R, N, cells): how much each cell of an axis counts in the samples at (R, N) places."""
    # A sample up to one cell outside takes the border's value, one further out counts 0.
    outside = (places < -1) | (places > cells)
    own = torch.arange(cells, dtype=places.dtype, device=places.device)
    distance = places.clamp(0, cells - 1)[..., None] - own
    return (1 - distance.abs()).clamp(min=0).masked_fill(outside[..., None], 0)

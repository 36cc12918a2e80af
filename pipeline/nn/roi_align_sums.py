"""RoIAlign as sums over few cells: each bin is a weighted sum of the cells around its samples.

A map's cells are the rows of a table, and a bin names its rows and their weights, which is what embedding bags compute:
vectorised over the channels, and in threads. The gradient of a cell is a bag too, of the bins that took it. The cost
depends only on the RoIs, not on the size of the map. Sums are taken in a fixed order for any number of threads.

Shapes: B images; D channels; Fh, Fw feature map height, width; R RoIs; S cells of a pooled side; N samples on an axis
of a bin; K cells that a bin takes along an axis.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.nn.roi_align_places import placed, sample_places


def align_by_sums(maps: Tensor, rois: Tensor, scale: float, size: int, samples: int, aligned: bool) -> Tensor:
    """(R, D, S, S) of the RoIs, as `pipeline.nn.roi_align.roi_align` has it."""
    depth, height, width = maps.shape[1:]
    if not len(rois):
        return maps.new_zeros(0, depth, size, size) + 0 * maps.sum()
    start, length = placed(rois[:, 1:], scale, aligned)
    rows, of_rows = _cells_of_bins(start[:, 1], length[:, 1], height, size, samples)
    columns, of_columns = _cells_of_bins(start[:, 0], length[:, 0], width, size, samples)
    rows = rows + rois[:, :1, None].long() * height  # images lie one below another
    cells = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    weights = of_rows[:, :, None, :, None] * of_columns[:, None, :, None, :]
    table = maps.permute(0, 2, 3, 1).reshape(-1, depth)
    bins: Tensor = _Bags.apply(table, cells.flatten(0, 2).flatten(1), weights.flatten(0, 2).flatten(1))
    return bins.reshape(-1, size, size, depth).permute(0, 3, 1, 2)


class _Bags(torch.autograd.Function):
    """Weighted sums of rows of a table: (cells, D), (bins, taken) int64 rows and their weights to (bins, D).

    The bits are those of torch's own gradient of embedding_bag, in half its time.
    """

    @staticmethod
    def forward(context: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        context.save_for_backward(rows, weights)
        context.length = len(table)
        return functional.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows, weights = context.saved_tensors
        # Sorted by row, the places where bins took it; those of a row stay in the bins' order.
        flat = rows.flatten().int()
        order = torch.sort(flat, stable=True)[1]
        ends = torch.cumsum(torch.bincount(flat, minlength=context.length), dim=0)
        own = functional.embedding_bag(
            order // rows.shape[1],
            gradient.contiguous(),
            torch.cat([ends.new_zeros(1), ends]),
            mode="sum",
            per_sample_weights=weights.flatten()[order],
            include_last_offset=True,
        )
        return own, None, None


def _cells_of_bins(start: Tensor, length: Tensor, cells: int, size: int, samples: int) -> tuple[Tensor, Tensor]:
    """The K cells that each bin takes along an axis, (R, S, K) int64, and their weights (R, S, K)."""
    places, counts = sample_places(start, length, size, samples)
    most = places.shape[2]
    # A sample up to one cell outside takes the border's value, one further out counts 0.
    left_out = (places < -1) | (places > cells)
    left_out |= torch.arange(most) >= counts[:, None, None]
    places = places.clamp(0, cells - 1)
    first = places.amin(dim=2).floor()
    reach = int((places.amax(dim=2).floor() - first).max()) + 2
    taken = first[..., None] + torch.arange(reach, dtype=start.dtype)
    shares = (1 - (places[..., None] - taken[:, :, None]).abs()).clamp(min=0).masked_fill(left_out[..., None], 0)
    weights = shares.sum(dim=2) / counts.clamp(min=1)[:, None, None]
    if reach > 2 * most:  # between samples far apart lie cells that count 0
        used, order = torch.sort((weights == 0).byte(), dim=2, stable=True)
        keep = max(int((used == 0).sum(dim=2).max()), 1)
        order = order[:, :, :keep]
        taken, weights = taken.gather(2, order), weights.gather(2, order)
    return taken.clamp(max=cells - 1).long(), weights

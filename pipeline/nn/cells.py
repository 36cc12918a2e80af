"""3x3 convolutions at a few cells of large maps, on a CPU: one matrix product over the inputs of those cells.

A loss on 256 anchors of an image asks for the outputs of as many cells, of the tens of thousands that a pyramid's
finest map has; the gradient of all others is 0. At those cells alone, both passes of the RPN's convolution take a
hundredth of their time on whole maps (benchmarks/resnet_time.py).

Shapes: L levels; B images; D channels; Fh, Fw feature map height, width; N cells. Cells are counted over all levels:
level after level, then image, y, x, as (B, Fh, Fw) of each level come out one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

Shapes = Sequence[tuple[int, int, int]]
"""(B, Fh, Fw) of each level."""


def shapes_of(maps: Sequence[Tensor]) -> list[tuple[int, int, int]]:
    """Of (B, D, Fh, Fw) maps."""
    return [(len(own), own.shape[2], own.shape[3]) for own in maps]


def neighbours(cells: Tensor, shapes: Shapes) -> Tensor:
    """(N, 9) int64: what a 3x3 kernel on each of (N,) cells sees, row by row; -1 outside of the map."""
    counts = torch.tensor([images * height * width for images, height, width in shapes])
    last = counts.cumsum(0)
    level = torch.searchsorted(last, cells, right=True)
    height, width = (torch.tensor([shape[axis] for shape in shapes])[level] for axis in (1, 2))
    place = cells - (last - counts)[level]
    y, x = place // width % height, place % width
    down, right = (step.flatten() for step in torch.meshgrid(*[torch.arange(-1, 2)] * 2, indexing="ij"))
    rows, columns = y[:, None] + down, x[:, None] + right
    within = (rows >= 0) & (rows < height[:, None]) & (columns >= 0) & (columns < width[:, None])
    return torch.where(within, cells[:, None] + down * width[:, None] + right, -1)


def conv3x3_at(layers: Sequence[nn.Conv2d], maps: Sequence[Tensor], cells: Tensor) -> Tensor:
    """What `layers`, of kernel 3, stride 1 and padding 1, each with a ReLU, make of the maps at some cells.

    Args:
        layers: one after the other, at least one. maps: (B, D, Fh, Fw) of each level, on a CPU.
        cells: (N,) int64, ascending, each once.

    Returns:
        (N, E) in the precision of the layers.
    """
    shapes, wanted = shapes_of(maps), [cells]
    for _ in layers[1:]:
        seen = neighbours(wanted[-1], shapes)
        wanted.append(seen[seen >= 0].unique())
    first, *others = layers
    own, found = wanted.pop(), []
    seen, before = neighbours(own, shapes), 0
    for level, (images, height, width) in zip(maps, shapes, strict=True):
        here, before = before, before + images * height * width
        low, high = torch.searchsorted(own, torch.tensor([here, before])).tolist()
        table = torch.where(seen[low:high] < 0, -1, seen[low:high] - here)
        # A level of no cell too, so that what made its map has a gradient, of 0.
        found.append(_Seen.apply(level.permute(0, 2, 3, 1).reshape(-1, level.shape[1]), table))
    rows = _product(first, torch.cat(found))
    for layer in others:
        before_it, own = own, wanted.pop()
        seen = neighbours(own, shapes)
        table = torch.where(seen < 0, -1, torch.searchsorted(before_it, seen))
        rows = _product(layer, _Seen.apply(rows, table))
    return rows


def _product(layer: nn.Conv2d, seen: Tensor) -> Tensor:
    """(N, 9, D) to (N, E)."""
    weight = layer.weight.permute(0, 2, 3, 1).flatten(1)
    return nn.functional.linear(seen.flatten(1), weight, layer.bias).relu()


class _Seen(torch.autograd.Function):
    """(M, D) rows and an (N, 9) table of their indices to (N, 9, D); of -1 zeros.

    In a column of the table an index comes once at most, so that a gradient's sums have one order.
    """

    @staticmethod
    def forward(context: Any, rows: Tensor, table: Tensor) -> Tensor:
        context.save_for_backward(table)
        context.count = len(rows)
        seen = rows[table.clamp(min=0).flatten()].unflatten(0, table.shape)
        return seen.masked_fill_((table < 0)[..., None], 0)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (table,) = context.saved_tensors
        of_rows = gradient.new_zeros(context.count, gradient.shape[2])
        for column in range(9):
            is_there = torch.nonzero(table[:, column] >= 0).squeeze(1)
            of_rows.index_add_(0, table[is_there, column], gradient[is_there, column])
        return of_rows, None

"""Box arithmetic: IoU, deltas, clipping, mirroring.

Shapes: N, M boxes. Boxes are float32 xyxy in absolute pixels, continuous: width is x2 - x1.

What is compared with a threshold (IoU, share of an area) is made of +, -, *, /, minimum and maximum of elements in a
fixed order, each of which IEEE 754 rounds alike on every processor. Roots, exponentials, logarithms, products of
matrices and long sums are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor

# exp() of a larger size delta would scale a 16 px anchor beyond 1000 px; torchvision and detectron2 cut there too.
MAX_SIZE_DELTA = math.log(1000.0 / 16)


def areas(boxes: Tensor) -> Tensor:
    """(N, 4) boxes to (N,) areas in square pixels."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def pairwise_iou(boxes: Tensor, others: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """IoU of every pair: (N, 4) and (M, 4) to (N, M) in 0..1; 0 where both boxes are empty.

    Args:
        dtype: what the results are rounded to; None: that of the boxes, in which they are computed in any case.
    """
    on_cpu = not others.is_cuda
    if on_cpu and len(others) >= _ROW_BY_ROW:
        return BoxColumns(others).iou(boxes, dtype or boxes.dtype)
    columns = others.t().contiguous()
    at_once = max(_PAIRS_AT_ONCE // max(len(others), 1), 1)
    if on_cpu and len(boxes) > at_once:
        return torch.cat([_iou_of_columns(part, columns) for part in boxes.split(at_once)]).to(dtype or boxes.dtype)
    return _iou_of_columns(boxes, columns).to(dtype or boxes.dtype)


def _iou_of_columns(boxes: Tensor, others: Tensor) -> Tensor:
    """(N, 4) boxes and the (4, M) columns of the others to (N, M)."""
    left, top, right, bottom = boxes.t()[..., None].unbind()
    x1, y1, x2, y2 = others.unbind()
    width = torch.minimum(right, x2).sub_(torch.maximum(left, x1)).clamp_(min=0)
    height = torch.minimum(bottom, y2).sub_(torch.maximum(top, y1)).clamp_(min=0)
    intersection = width.mul_(height)
    own_areas, other_areas = (right - left).mul_(bottom - top), (x2 - x1).mul_(y2 - y1)
    union = torch.add(own_areas, other_areas, out=height).sub_(intersection)
    return intersection.div_(union).nan_to_num_(0.0)


# On a CPU, of so many pairs what lies between stays in the cache, and no second thread is woken for it; with so many
# boxes in a row already one row is enough.
_PAIRS_AT_ONCE, _ROW_BY_ROW = 16384, 4096

_BLOCK = 1024
"""Boxes that are looked at or left out together."""


class BoxColumns:
    """M boxes on a CPU, ready to be compared with few others at a time; for boxes that are compared again and again.

    Args:
        boxes: (M, 4).
    """

    def __init__(self, boxes: Tensor) -> None:
        self._columns = boxes.t().contiguous()
        x1, y1, x2, y2 = self._columns
        self._areas = (x2 - x1).mul_(y2 - y1)
        least, largest = torch.aminmax(self._areas) if len(boxes) else (torch.ones(()), torch.ones(()))
        self._none_empty = bool((least > 0) & (largest < math.inf))

    def __len__(self) -> int:
        """M."""
        return len(self._areas)

    def iou(self, boxes: Tensor, dtype: torch.dtype) -> Tensor:
        """The same numbers as `pairwise_iou` of (N, 4) boxes and these: (N, M) in 0..1.

        Args:
            dtype: what the results are rounded to.
        """
        iou, space = torch.empty(len(boxes), len(self), dtype=dtype), self._space()
        for row, area, box in zip(iou, areas(boxes).tolist(), boxes.tolist(), strict=True):
            row.copy_(self._iou(box, area, self._columns, self._areas, space))
        return iou

    def overlaps(self, boxes: Tensor, dtype: torch.dtype) -> Iterator[tuple[int, slice, Tensor]]:
        """The IoUs of (N, 4) boxes with those of these that stand near them; all other IoUs are 0.

        Neighbours are left out together. That pays where boxes that follow each other lie near each other, as the
        anchors of a row of cells do, and where there are many.

        Yields:
            index of a box, a run of R of these boxes, and the (R,) IoUs; none or several for a box.
        """
        space = self._space()
        for index, (area, box) in enumerate(zip(areas(boxes).tolist(), boxes.tolist(), strict=True)):
            for run in self._runs_near(*box):
                some = [values[: run.stop - run.start] for values in space]
                yield (
                    index,
                    run,
                    self._iou(box, area, self._columns[:, run], self._areas[run], some).to(dtype, copy=True),
                )

    def _space(self) -> list[Tensor]:
        return [torch.empty_like(self._areas) for _ in range(3)]

    def _iou(self, box: list[float], area: float, columns: Tensor, others: Tensor, space: list[Tensor]) -> Tensor:
        """IoUs of a box of some area with the boxes of these (4, R) columns and (R,) areas, in three (R,) tensors."""
        (left, top, right, bottom), (x1, y1, x2, y2), (width, height, low) = box, columns, space
        torch.clamp(x2, max=right, out=width).sub_(torch.clamp(x1, min=left, out=low)).clamp_(min=0)
        torch.clamp(y2, max=bottom, out=height).sub_(torch.clamp(y1, min=top, out=low)).clamp_(min=0)
        intersection = width.mul_(height)
        union = torch.add(others, area, out=height).sub_(intersection)
        ratio = intersection.div_(union)
        return ratio if self._none_empty and 0 <= area < math.inf else ratio.nan_to_num_(0.0)

    def _runs_near(self, left: float, top: float, right: float, bottom: float) -> Iterator[slice]:
        """The blocks that a box may overlap, neighbours together."""
        # Not the other way round: the bounds of a block with a box of NaN are NaN.
        near = [not (x1 >= right or y1 >= bottom or x2 <= left or y2 <= top) for x1, y1, x2, y2 in self._bounds]
        for is_near, run in groupby(range(len(near)), key=near.__getitem__):
            if is_near:
                first, *more = run
                last = more[-1] if more else first
                yield slice(first * _BLOCK, min((last + 1) * _BLOCK, len(self)))

    @cached_property
    def _bounds(self) -> list[list[float]]:
        """The box around each block."""
        filled = self._columns[:, -1:].expand(-1, -len(self) % _BLOCK)  # with boxes that change no bound
        blocks = torch.cat([self._columns, filled], dim=1).reshape(4, -(-len(self) // _BLOCK), _BLOCK)
        bounds: list[list[float]] = torch.cat([blocks[:2].amin(dim=2), blocks[2:].amax(dim=2)]).t().tolist()
        return bounds


def intersection_over_own_area(boxes: Tensor, regions: Tensor) -> Tensor:
    """(N, I) shares, 0..1, of each (N, 4) box's own area that lie in each (I, 4) region; 0 for a box without area."""
    low = torch.maximum(boxes[:, None, :2], regions[:, :2])
    high = torch.minimum(boxes[:, None, 2:], regions[:, 2:])
    width, height = (high - low).clamp(min=0).unbind(dim=2)
    intersection, area = width * height, areas(boxes)[:, None]
    return torch.where(area > 0, intersection / area, torch.zeros_like(intersection))


def encode(references: Tensor, targets: Tensor) -> Tensor:
    """Deltas (dx, dy, dw, dh) that take each reference box to its target: (N, 4) and (N, 4) to (N, 4).

    dx = (target centre x - centre x) / width, dw = log(target width / width). R-CNN, appendix C; all widths and heights
    must be positive.
    """
    sizes, centres = _sizes_and_centres(references)
    target_sizes, target_centres = _sizes_and_centres(targets)
    return torch.cat([(target_centres - centres) / sizes, torch.log(target_sizes / sizes)], dim=1)


def decode(references: Tensor, deltas: Tensor) -> Tensor:
    """The inverse of `encode`: (N, 4) boxes and (N, ..., 4) deltas to (N, ..., 4) boxes.

    dw and dh are cut at log(1000 / 16).
    """
    sizes, centres = _sizes_and_centres(references)
    extra = deltas.dim() - 2
    sizes, centres = (value.reshape(value.shape[0], *[1] * extra, 2) for value in (sizes, centres))
    new_centres = deltas[..., :2] * sizes + centres
    half_sizes = torch.exp(deltas[..., 2:].clamp(max=MAX_SIZE_DELTA)) * sizes / 2
    return torch.cat([new_centres - half_sizes, new_centres + half_sizes], dim=-1)


def _sizes_and_centres(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sizes = boxes[:, 2:] - boxes[:, :2]
    return sizes, boxes[:, :2] + sizes / 2


def clip(boxes: Tensor, height: float, width: float) -> Tensor:
    """(..., 4) boxes clipped to the image: x to 0..width, y to 0..height."""
    clipped = boxes.clamp(min=0)
    # A tensor of limits would have to be copied to a GPU, which waits for it.
    clipped[..., 0::2].clamp_(max=width)
    clipped[..., 1::2].clamp_(max=height)
    return clipped


def mirror(boxes: Tensor, width: float) -> Tensor:
    """(N, 4) boxes as they lie in the image mirrored left to right."""
    return torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)

"""Traceable steps from scored locations to detections, for the decoders of families.

Shapes: N locations of one image, C classes, background included; M candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from pipeline.nn.first_kept import first_kept
from pipeline.nn.operators import nms
from pipeline.nn.postprocess import DetectedBoxes

if TYPE_CHECKING:
    from pipeline.geometry.points import Grid


class Candidates(NamedTuple):
    """`location` (M,) int64, index among N, `label` (M,) int64, 1..C-1, and `score` (M,)."""

    location: Tensor
    label: Tensor
    score: Tensor


def candidates(
    scores: Tensor, grid: Grid, threshold: float, per_level: int, compared: Tensor | None = None
) -> Candidates:
    """Pairs of location and class that score more than `threshold`, the best `per_level` of each level; of equal scores
    the first location's, then the lower class's, on every device.

    Args:
        scores: (N, C - 1), by which candidates are ranked.
        compared: (N, C - 1) other scores, to which the threshold applies; None: to `scores`.
    """
    found, first = [], 0
    levels = [own.split(grid.counts) for own in (scores, scores if compared is None else compared)]
    for count, level, passing in zip(grid.counts, *levels, strict=True):
        location, column = torch.nonzero(passing > threshold, as_tuple=True)
        score = level[location, column]
        order = _best(score, per_level)
        found.append(Candidates(location[order] + first, column[order] + 1, score[order]))
        first = first + count
    return Candidates(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def candidates_by_class(scores: Tensor, threshold: float, per_class: int) -> Candidates:
    """Pairs of location and class that score more than `threshold`, the best `per_class` of each class, of all levels;
    class by class, of equal scores the first location's, on every device.

    Args:
        scores: (N, C - 1).
    """
    rows = scores.t()
    if torch.compiler.is_exporting():  # ONNX's TopK takes the first of equals
        score, location = torch.topk(rows, _least(per_class, rows.shape[1]), dim=1)
    else:
        score, location = (own[:, :per_class] for own in torch.sort(rows, dim=1, descending=True, stable=True))
    column = torch.arange(rows.shape[0], device=rows.device)[:, None].expand_as(location)
    found = torch.nonzero(score.reshape(-1) > threshold).squeeze(1)
    return Candidates(*(own.reshape(-1)[found] for own in (location, column + 1, score)))


def keep_best(boxes: Tensor, found: Candidates, size: tuple[int, int], nms_iou: float, per_image: int) -> DetectedBoxes:
    """The detections among candidates with (M, 4) boxes: clipped to an image of (H, W) `size`, not empty, after NMS
    within each class, the best `per_image`."""
    height, width = size
    limits = torch.stack([torch.scalar_tensor(side, device=boxes.device) for side in (width, height)] * 2)
    boxes = torch.minimum(boxes.clamp(min=0), limits)
    filled = torch.nonzero((boxes[:, 2:] > boxes[:, :2]).all(dim=1)).squeeze(1)
    boxes, scores, labels = boxes[filled], found.score[filled], found.label[filled]
    # Classes are moved apart; the zero is for an image without any candidate. In float32, all that ONNX has for
    # NMS, the boxes of late classes lose their last bits to the distance.
    exact = boxes if torch.compiler.is_exporting() else boxes.double()
    reach = torch.cat([exact.reshape(-1), exact.new_zeros(1)]).amax(dim=0) + 1
    apart = exact + (labels * reach)[:, None]
    if torch.compiler.is_exporting():  # a graph has no loop
        keep = nms(apart, scores.to(exact), nms_iou)[:per_image]
    else:
        order = torch.argsort(scores, descending=True, stable=True)
        keep = order[first_kept(apart[order], nms_iou, per_image)]
    return DetectedBoxes(boxes[keep], scores[keep], labels[keep])


def _best(score: Tensor, count: int) -> Tensor:
    """Indices of the best `count` of (M,) scores, by descending score, of equals the lower index first."""
    if torch.compiler.is_exporting():  # so does ONNX's TopK
        return torch.topk(score, _least(count, score.shape[0])).indices
    if len(score) <= count:
        return torch.argsort(score, descending=True, stable=True)
    # topk takes equals in any order: with all that equal its last one they are few to sort.
    enough = torch.nonzero(score >= torch.topk(score, count).values[-1]).squeeze(1)
    return enough[torch.argsort(score[enough], descending=True, stable=True)[:count]]


def _least(one: int, other: Any) -> Any:
    return torch.sym_min(one, other)

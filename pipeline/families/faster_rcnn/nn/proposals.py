"""From the outputs of an RPN head to proposals (Faster R-CNN, section 3.1).

Shapes: K anchors, of all levels, and P proposals of one image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pipeline.nn.anchors import Sizes, joined
from pipeline.nn.boxes import clip, decode
from pipeline.nn.first_kept import first_kept

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.nn.rpn import Levels


class OfImage(NamedTuple):
    """What an RPN head makes of one image: (K,) `objectness`, (K, 4) `deltas`, and `counts`, how many of the K anchors
    lie on each level."""

    objectness: Tensor
    deltas: Tensor
    counts: tuple[int, ...]


def of_image(objectness: Levels, deltas: Levels, image: int, sizes: Sizes) -> OfImage:
    """The outputs for one image of a batch, which has (Fh, Fw) cells of each level."""
    own = list(enumerate(sizes))
    return OfImage(
        joined([objectness[level][image, :high, :wide].reshape(-1) for level, (high, wide) in own]),
        joined([deltas[level][image, :high, :wide].reshape(-1, 4) for level, (high, wide) in own]),
        tuple(high * wide * objectness[level].shape[3] for level, (high, wide) in own),
    )


@dataclass(frozen=True)
class ProposalRule:
    """How RPN outputs become proposals.

    Args:
        pre_nms: candidates of each level kept before NMS, -1 for all.
        nms_iou: threshold of NMS, which runs within a level.
        post_nms: proposals kept, of all levels.
        min_size: least width and height, pixels of the original image.
        cut_first: take the best `pre_nms` before the small ones are dropped, as torchvision and detectron2 do; else
            after.
    """

    pre_nms: int
    nms_iou: float
    post_nms: int
    min_size: float
    cut_first: bool = False


def make_proposals(
    objectness: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    size: tuple[int, int],
    rule: ProposalRule,
    scale: tuple[float, float] = (1.0, 1.0),
    counts: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """Proposals of one image by descending score: decode, clip, drop the small, cut, NMS, cut.

    The first cut and NMS are of each level, the last cut is of all levels.

    Args:
        objectness: (K,) logits; deltas: (K, 4); anchors: (K, 4).
        size: (H, W) of the resized image, pixels.
        scale: (x, y) resized pixels per original pixel, which `rule.min_size` is multiplied by.
        counts: how many of the K anchors lie on each level; None: all on one.

    Returns:
        (P, 4) boxes in resized pixels and (P,) fg probabilities.
    """
    boxes, ranked, usable, counts = _decode(objectness, deltas, anchors, counts, size, rule, scale)
    orders = [order[usable[order]] for order in _best_of_levels(ranked, counts, rule.pre_nms)]
    keep = _suppress(boxes, ranked, orders, rule)
    return boxes[keep], torch.sigmoid(ranked[keep])


def candidate_proposals(
    objectness: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    size: tuple[int, int],
    rule: ProposalRule,
    scale: tuple[float, float] = (1.0, 1.0),
    counts: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """The proposals of `make_proposals`, and after them what takes the place of some where there are too few.

    Nobody asks a GPU how many of its boxes are large enough, so that NMS alone is waited for. Those that are not come
    last in its order and suppress no other.

    Returns:
        (N, 4) boxes in resized pixels and (N,) bool, which of them are proposals.
    """
    boxes, ranked, usable, counts = _decode(objectness, deltas, anchors, counts, size, rule, scale)
    keep = _suppress(boxes, ranked, _best_of_levels(ranked, counts, rule.pre_nms), rule)
    return boxes[keep], usable[keep]


class _Candidates(NamedTuple):
    """(N, 4) clipped boxes; (N,) logits, -inf where a box may not become a proposal; (N,) bool, which may; and how many
    there are of each level."""

    boxes: Tensor
    ranked: Tensor
    usable: Tensor
    counts: Sequence[int]


def _decode(
    objectness: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    counts: Sequence[int] | None,
    size: tuple[int, int],
    rule: ProposalRule,
    scale: tuple[float, float],
) -> _Candidates:
    counts = (len(objectness),) if counts is None else counts
    finite = torch.isfinite(objectness)
    if rule.cut_first:
        best = _best_of_levels(objectness.masked_fill(~finite, -math.inf), counts, rule.pre_nms)
        counts, chosen = tuple(map(len, best)), joined(best)
        objectness, deltas, anchors, finite = objectness[chosen], deltas[chosen], anchors[chosen], finite[chosen]
    boxes = clip(decode(anchors, deltas), *size)
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    # Clipping may leave a box without area, which no loss can use, even if there is no least size.
    large = (widths >= max(rule.min_size * scale[0], 1e-3)) & (heights >= max(rule.min_size * scale[1], 1e-3))
    usable = large & finite
    return _Candidates(boxes, objectness.masked_fill(~usable, -math.inf), usable, counts)


def _best_of_levels(ranked: Tensor, counts: Sequence[int], most: int) -> list[Tensor]:
    """Of each level the indices of its highest `ranked`, at most so many, the best first; -1 for all."""
    orders, first = [], 0
    for count in counts:
        order = torch.argsort(ranked[first : first + count], descending=True, stable=True)
        orders.append((order[:most] if most >= 0 else order) + first)
        first += count
    return orders


def _suppress(boxes: Tensor, ranked: Tensor, orders: Sequence[Tensor], rule: ProposalRule) -> Tensor:
    """What NMS within each level leaves of the indices `orders`, best first; of all levels the best `post_nms`.

    A level at a time: boxes moved apart, for one NMS of all levels, would be rounded by how far, and be decided by.
    """
    kept = [order[first_kept(boxes[order], rule.nms_iou, rule.post_nms)] for order in orders]
    keep = joined(kept)
    if len(kept) > 1:
        keep = keep[torch.argsort(ranked[keep], descending=True, stable=True)]
    return keep[: rule.post_nms]

"""From the outputs of an RPN head to proposals (Faster R-CNN, section 3.1).

Shapes: K anchors, of all levels, and P proposals of one image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.nn.anchors import Sizes, joined
from pipeline.nn.boxes import clip, decode
from pipeline.nn.operators import nms

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.nn.rpn import Levels


def of_image(objectness: Levels, deltas: Levels, image: int, sizes: Sizes) -> tuple[Tensor, Tensor]:
    """The (K,) objectness and (K, 4) deltas of one image of a batch, which has (Fh, Fw) cells of each level."""
    own = list(enumerate(sizes))
    return (
        joined([objectness[level][image, :high, :wide].reshape(-1) for level, (high, wide) in own]),
        joined([deltas[level][image, :high, :wide].reshape(-1, 4) for level, (high, wide) in own]),
    )


@dataclass(frozen=True)
class ProposalRule:
    """How RPN outputs become proposals.

    Args:
        pre_nms: candidates kept before NMS, -1 for all.
        nms_iou: NMS threshold.
        post_nms: proposals kept.
        min_size: least width and height, pixels of the original image.
    """

    pre_nms: int
    nms_iou: float
    post_nms: int
    min_size: float


def make_proposals(
    objectness: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    size: tuple[int, int],
    rule: ProposalRule,
    scale: tuple[float, float] = (1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Proposals of one image by descending score: decode, clip, drop the small, cut, NMS, cut.

    Args:
        objectness: (K,) logits; deltas: (K, 4); anchors: (K, 4).
        size: (H, W) of the resized image, pixels.
        scale: (x, y) resized pixels per original pixel, which `rule.min_size` is multiplied by.

    Returns:
        (P, 4) boxes in resized pixels and (P,) fg probabilities.
    """
    boxes, usable = _decode(objectness, deltas, anchors, size, rule, scale)
    keep = torch.nonzero(usable).squeeze(1)
    order = torch.argsort(objectness[keep], descending=True, stable=True)
    keep = _best(boxes, keep[order], rule)
    return boxes[keep], torch.sigmoid(objectness[keep])


def candidate_proposals(
    objectness: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    size: tuple[int, int],
    rule: ProposalRule,
    scale: tuple[float, float] = (1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """The proposals of `make_proposals`, and after them what takes the place of some where there are too few.

    Nobody asks a GPU how many of its boxes are large enough, so that NMS alone is waited for. Those that are not come
    last in its order and suppress no other.

    Returns:
        (N, 4) boxes in resized pixels and (N,) bool, which of them are proposals.
    """
    boxes, usable = _decode(objectness, deltas, anchors, size, rule, scale)
    order = torch.argsort(objectness.masked_fill(~usable, -math.inf), descending=True, stable=True)
    keep = _best(boxes, order, rule)
    return boxes[keep], usable[keep]


def _decode(
    objectness: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    size: tuple[int, int],
    rule: ProposalRule,
    scale: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """(K, 4) clipped boxes and (K,) bool, which of them may become proposals."""
    boxes = clip(decode(anchors, deltas), *size)
    widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    # An edge clipped away leaves a box of no area, which no loss can use, whatever the least size is.
    large = (widths >= max(rule.min_size * scale[0], 1e-3)) & (heights >= max(rule.min_size * scale[1], 1e-3))
    return boxes, large & torch.isfinite(objectness)


def _best(boxes: Tensor, order: Tensor, rule: ProposalRule) -> Tensor:
    """Of the indices `order`, best first: those that are left by both cuts and NMS between them."""
    keep = order[: rule.pre_nms] if rule.pre_nms >= 0 else order
    # Ranks instead of scores: saturated or equal scores keep their order, and the kernel's own sort stays cheap.
    ranks = torch.arange(len(keep), 0, -1, dtype=boxes.dtype, device=boxes.device)
    return keep[nms(boxes[keep], ranks, rule.nms_iou)[: rule.post_nms]]

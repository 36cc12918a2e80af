"""The region proposal network's head and the proposals it makes (Faster R-CNN, section 3.1).

Shapes: B images; Fh, Fw feature map height, width; D channels; A anchors per location; K anchors, of all levels, and P
proposals of one image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.detector.anchors import Sizes, joined
from pipeline.detector.boxes import clip, decode
from pipeline.detector.convolution import conv3x3
from pipeline.detector.operators import nms

Levels = tuple[Tensor, ...]


class RPNHead(nn.Module):
    """3x3 convolution, then 1x1 to 2A class scores and 4A deltas; all N(0, 0.01), biases 0. The same on every level.

    Args:
        in_channels: D of the trunk.
        channels: width of the 3x3 convolution, 512 in the paper.
        per_location: A.
    """

    def __init__(self, in_channels: int, channels: int, per_location: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.cls_score = nn.Conv2d(channels, 2 * per_location, 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * per_location, 1)

    @property
    def per_location(self) -> int:
        """A, the anchors per location."""
        return self.bbox_pred.out_channels // 4

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""
        for layer in (self.conv, self.cls_score, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01, generator=generator)
            nn.init.constant_(cast(Tensor, layer.bias), 0.0)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Levels, Levels]:
        """(B, D, Fh, Fw) maps to objectness (B, Fh, Fw, A), the fg minus the bg logit, and deltas (B, Fh, Fw, A, 4), of
        each level."""
        objectness, deltas = zip(*map(self._of_level, maps), strict=True)
        return objectness, deltas

    def _of_level(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        hidden = conv3x3(self.conv, maps, relu=True)
        background, foreground = self.cls_score(hidden).float().permute(0, 2, 3, 1).chunk(2, dim=3)
        deltas = self.bbox_pred(hidden).float().permute(0, 2, 3, 1)
        return foreground - background, deltas.unflatten(3, (-1, 4))


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

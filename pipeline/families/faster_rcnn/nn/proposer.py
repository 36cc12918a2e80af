"""Proposals of whole images, from the feature maps that an RPN head runs on.

Shapes: B images; Fh, Fw feature map height, width; D channels; P proposals of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, make_proposals, of_image

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.nn.rpn import RPNHead
    from pipeline.nn.anchors import AnchorGrid
    from pipeline.nn.backbones.trunk import Maps


class Proposed(NamedTuple):
    """The outputs of an RPN for one image.

    Attributes:
        boxes: (P, 4) in resized pixels, best first.
        scores: (P,) fg probabilities.
        objectness: (Fh, Fw) of each level, the largest fg probability of the anchors of each location, before NMS.
    """

    boxes: Tensor
    scores: Tensor
    objectness: tuple[Tensor, ...]


class Proposer:
    """Proposals from feature maps.

    Args:
        rpn: trained RPN head. grid: its anchors. rule: what to keep.
    """

    def __init__(self, rpn: RPNHead, grid: AnchorGrid, rule: ProposalRule) -> None:
        self._rpn, self._grid, self._rule = rpn, grid, rule

    def __call__(
        self, maps: Maps, sizes: Sequence[tuple[int, int]], scales: Sequence[tuple[float, float]]
    ) -> list[Proposed]:
        """Proposals of each of B images of one size, from the (B, D, Fh, Fw) map of each level."""
        objectness, deltas = self._rpn(maps)
        cells = [(own.shape[2], own.shape[3]) for own in maps]
        anchors, proposed = self._grid(cells).to(maps[0].device), []
        for image, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
            logits, own_deltas, counts = of_image(objectness, deltas, image, cells)
            boxes, scores = make_proposals(logits, own_deltas, anchors, size, self._rule, scale, counts)
            largest = tuple(torch.sigmoid(own[image].amax(dim=2)) for own in objectness)
            proposed.append(Proposed(boxes, scores, largest))
        return proposed

"""A whole Faster R-CNN, composed of a trunk, an RPN head and a RoI head.

Shapes: B images; H, W image height, width; Fh, Fw feature map height, width; D channels; P proposals of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.detector.anchors import AnchorGrid
from pipeline.detector.postprocess import DetectedBoxes, DetectionRule, detect
from pipeline.detector.roi_head import RoIHead
from pipeline.detector.rpn import ProposalRule, RPNHead, make_proposals, of_image
from pipeline.detector.trunk import Maps, Trunk


class Proposed(NamedTuple):
    """What an RPN makes of one image.

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
        anchors = self._grid(cells).to(maps[0].device)
        return [
            Proposed(
                *make_proposals(*of_image(objectness, deltas, image, cells), anchors, size, self._rule, scale),
                tuple(torch.sigmoid(own[image].amax(dim=2)) for own in objectness),
            )
            for image, (size, scale) in enumerate(zip(sizes, scales, strict=True))
        ]


def detect_in_maps(
    head: RoIHead, maps: Maps, proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]], rule: DetectionRule
) -> list[DetectedBoxes]:
    """Classify the proposals of each of B images on their feature maps."""
    class_logits, class_deltas = head(maps, proposals)
    class_deltas = head.decode_deltas(class_deltas)
    counts = [len(rois) for rois in proposals]
    return [
        detect(logits, deltas, rois, size, rule)
        for logits, deltas, rois, size in zip(
            class_logits.split(counts), class_deltas.split(counts), proposals, sizes, strict=True
        )
    ]


class FasterRCNN:
    """Detects objects in images; the shared network after step 4, or the joint one.

    Args:
        trunk, rpn, head: trained parts, in evaluation mode. grid: the RPN's anchors.
        proposal_rule, detection_rule: what to keep after the RPN and after the head.
    """

    def __init__(
        self,
        trunk: Trunk,
        rpn: RPNHead,
        head: RoIHead,
        grid: AnchorGrid,
        proposal_rule: ProposalRule,
        detection_rule: DetectionRule,
    ) -> None:
        self.trunk, self.rpn, self.head, self.grid = trunk, rpn, head, grid
        self._propose = Proposer(rpn, grid, proposal_rule)
        self._rule = detection_rule

    @torch.inference_mode()
    def __call__(
        self, images: Tensor, sizes: Sequence[tuple[int, int]], scales: Sequence[tuple[float, float]]
    ) -> list[DetectedBoxes]:
        """(B, 3, H, W) uint8 RGB images of one size to detections in resized pixels."""
        maps = self.trunk(self.trunk.normalise(images, sizes))
        proposals = [found.boxes for found in self._propose(maps, sizes, scales)]
        return detect_in_maps(self.head, maps, proposals, sizes, self._rule)

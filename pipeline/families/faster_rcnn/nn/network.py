"""A whole Faster R-CNN, composed of a trunk, an RPN head and a RoI head.

Shapes: B images; H, W image height, width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.families.faster_rcnn.nn.detecting import detect_in_maps
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.families.faster_rcnn.nn.proposer import Proposer
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.backbones.trunk import Trunk
from pipeline.nn.postprocess import DetectedBoxes, DetectionRule


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

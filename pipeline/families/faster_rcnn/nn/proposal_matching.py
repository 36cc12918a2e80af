"""Which proposal is fg, bg or ignored.

Shapes: P proposals, G gt boxes of one image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.nn.boxes import pairwise_iou
from pipeline.nn.matching import BG, FG, IGNORE, Matches


def match_proposals(
    proposals: Tensor, gt_boxes: Tensor, fg_iou: float, bg_iou_high: float, bg_iou_low: float
) -> Matches:
    """Label (P, 4) proposals against (G, 4) gt boxes (Fast R-CNN, section 2.3).

    1 fg of IoU >= `fg_iou`, 0 bg in [`bg_iou_low`, `bg_iou_high`), the rest -1. Without gt boxes all IoUs are 0.
    """
    if len(gt_boxes) == 0:
        max_iou = proposals.new_zeros(len(proposals))
        matched_gt = torch.zeros(len(proposals), dtype=torch.int64, device=proposals.device)
    else:
        max_iou, matched_gt = pairwise_iou(gt_boxes, proposals).max(dim=0)
    labels = torch.full_like(matched_gt, IGNORE, dtype=torch.int8)
    labels.masked_fill_((max_iou >= bg_iou_low) & (max_iou < bg_iou_high), BG).masked_fill_(max_iou >= fg_iou, FG)
    return Matches(labels, matched_gt, max_iou)

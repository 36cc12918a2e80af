"""NMS of the boxes of many classes at once."""

from __future__ import annotations

import torch

from pipeline.nn.operators import nms


def batched_nms(boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """NMS within each group; indices kept, by descending score.

    Groups are moved apart by more than the largest coordinate, so that boxes of different groups never overlap.
    """
    if boxes.numel() == 0:
        return torch.empty(0, dtype=torch.int64, device=boxes.device)
    apart = groups.to(boxes) * (boxes.max() + 1)
    return nms(boxes + apart[:, None], scores, iou_threshold)

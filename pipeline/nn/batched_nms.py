"""NMS of boxes of many classes at once."""

from __future__ import annotations

import torch

from pipeline.nn.first_kept import first_kept


def batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, iou_threshold: float, most: int
) -> torch.Tensor:
    """NMS within each group; the best `most` indices kept, by descending score.

    Groups are moved apart by more than the largest coordinate, so that boxes of different groups never overlap.
    """
    if boxes.numel() == 0:
        return torch.empty(0, dtype=torch.int64, device=boxes.device)
    apart = boxes + (groups.to(boxes) * (boxes.max() + 1))[:, None]
    order = torch.argsort(scores, descending=True, stable=True)
    return order[first_kept(apart[order], iou_threshold, most)]

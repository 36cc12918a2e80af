"""NMS that ends when enough boxes are kept."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.nn.operators import nms


def first_kept(boxes: Tensor, nms_iou: float, most: int) -> Tensor:
    """The first `most` that NMS of all boxes keeps.

    NMS goes from the best box to the worst, so what it keeps of the best n depends on no other box. On a CPU, where the
    kernel compares every box kept with all that follow, the boxes are therefore taken a part at a time: each part after
    those kept before, which do not suppress each other. Every box is decided by the same comparisons as in one NMS of
    all, and those behind the last one kept by none, so the result is the same. On a GPU a part costs a wait, and all
    are taken at once.

    Args:
        boxes: (N, 4), the best first.

    Returns:
        (K,) int64 indices kept, K <= most, the best first.
    """
    part = max(len(boxes) if boxes.is_cuda else 2 * most, 1)
    kept = torch.empty(0, dtype=torch.int64, device=boxes.device)
    for start in range(0, len(boxes), part):
        candidates = torch.cat([kept, torch.arange(start, min(start + part, len(boxes)), device=boxes.device)])
        # Ranks instead of scores: saturated or equal scores keep their order, and the kernel's own sort stays cheap.
        ranks = torch.arange(len(candidates), 0, -1, dtype=boxes.dtype, device=boxes.device)
        kept = candidates[nms(boxes[candidates], ranks, nms_iou)]
        if len(kept) >= most:
            break
    return kept[:most]

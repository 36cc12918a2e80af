"""The training losses of the head (Liu et al. 2016, section 2.2).

Shapes: B images; N default boxes of an image; F of the batch that are to find an object.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.dense.head import DenseHead, Outputs
from pipeline.dense.targets import BatchTargets
from pipeline.families.ssd.dense_targets import assign
from pipeline.families.ssd.head import build_head, default_boxes
from pipeline.families.ssd.params import SSDParams
from pipeline.nn.boxes import encode
from pipeline.nn.smooth_l1 import smooth_l1
from pipeline.params.augment import AugmentParams
from pipeline.params.reading import Params
from pipeline.params.schedule import Schedule

__all__ = ["SECTIONS", "assign", "build_head", "losses"]

SECTIONS = {"ssd": SSDParams, "augment": AugmentParams, "train_ssd": Schedule}


def losses(head: DenseHead, outputs: Outputs, targets: BatchTargets, params: Params) -> dict[str, Tensor]:
    """Cross-entropy of the classes of F default boxes and of the hardest others, and smooth L1 of the F deltas, over
    F."""
    own: SSDParams = params.ssd
    logits, labels, fg = outputs["classes"], targets.labels, targets.fg
    entropy = functional.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none")
    entropy = entropy.view_as(labels)
    counted = (labels > 0) | hardest(entropy.detach(), labels, own.negatives)
    boxes = default_boxes(targets.grid, targets.sizes[0], own, logits.device)[fg % len(targets.grid)]
    wanted = encode(boxes, targets.fg_boxes) / boxes.new_tensor(own.variances)
    off = smooth_l1(outputs["deltas"].flatten(0, 1)[fg] - wanted, sigma=1.0)
    count = max(len(fg), 1)
    return {
        "ssd_class": (entropy * counted).sum() / count,
        "ssd_box": own.box_loss_weight * off.sum() / count,
    }


def hardest(loss: Tensor, labels: Tensor, ratio: float) -> Tensor:
    """(B, N) bool: the background of highest loss in each image, at most `ratio` times as many as are to find an
    object; of equal losses the first.

    Args:
        loss: (B, N). labels: (B, N), 0 for background.
    """
    background = labels == 0
    order = loss.masked_fill(~background, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(loss.shape[1], device=loss.device).expand_as(order))
    return background & (rank < ratio * (labels > 0).sum(dim=1, keepdim=True))

"""The loss of RetinaNet's classes (Lin et al. 2017, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Elementwise, of logits and targets 0 or 1 of one shape, float32.

    Args:
        alpha: weight of the positives; that of the negatives is 1 - alpha. gamma: how far easy examples count less.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = torch.sigmoid(logits)
    missed = probability + targets - 2 * probability * targets
    if 0 < gamma < 1:  # whose power has no slope at 0, where the sigmoid is exactly 0 or 1
        missed = missed.clamp(min=torch.finfo(missed.dtype).tiny)
    return (alpha * targets + (1 - alpha) * (1 - targets)) * missed**gamma * entropy

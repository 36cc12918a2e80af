"""The loss of box deltas."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def smooth_l1(difference: Tensor, sigma: float) -> Tensor:
    """Elementwise smooth L1: 0.5 (sigma x)^2 for |x| < 1 / sigma^2, else |x| - 0.5 / sigma^2."""
    return functional.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none", beta=sigma**-2)

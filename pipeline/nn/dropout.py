"""Reproducible dropout."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Dropout with its own generator for the masks, so that they do not depend on global state."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.keep = 1.0 - probability
        self.generator: torch.Generator | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Zero each value with the given probability and scale up the rest; the identity in evaluation mode."""
        if not self.training or self.keep == 1.0:
            return values
        mask = torch.empty_like(values).bernoulli_(self.keep, generator=self.generator)
        return values * mask.div_(self.keep)

"""The random samples that losses are computed on: 256 anchors, 64 RoIs per image."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_fg_bg(
    fg: Tensor, bg: Tensor, count: int, fg_fraction: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw at most `count` of the candidates, at most `fg_fraction` of them fg, the rest bg (Fast R-CNN, section 2.3).

    Args:
        fg, bg: (N,), (M,) int64 indices of the fg and bg candidates.
        count: 256 anchors or 64 RoIs; bg fills what fg leaves, as far as there is bg.
        generator: a CPU generator; equal generators give equal samples on every device.

    Returns:
        The drawn fg and bg indices, without replacement, in random order.
    """
    fg_count = min(len(fg), int(count * fg_fraction))
    bg_count = min(len(bg), count - fg_count)
    return _draw(fg, fg_count, generator), _draw(bg, bg_count, generator)


def _draw(candidates: Tensor, count: int, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(candidates), generator=generator)[:count]
    return candidates[order.to(candidates.device)]

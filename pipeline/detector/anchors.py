"""Anchors: reference boxes at every location of the feature map (Faster R-CNN, section 3.1.1).

Shapes: Fh, Fw feature map height, width; A anchors per location; K = Fh * Fw * A anchors in an image.
Order: y outer, x inner, then ratio, then scale, as an RPN output permuted to (Fh, Fw, A) comes out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def base_anchors(base_size: float, ratios: Sequence[float], scales: Sequence[float]) -> Tensor:
    """The (A, 4) float64 anchors of one location, centred on the origin.

    An anchor of ratio r (height over width) and scale s has the area (base_size * s) ** 2.
    """
    # Not torch's sqrt: MKL computes it, whose last bit depends on the maker of the processor.
    root = torch.tensor([math.sqrt(ratio) for ratio in ratios], dtype=torch.float64).repeat_interleave(len(scales))
    side = base_size * torch.tensor(scales, dtype=torch.float64).repeat(len(ratios))
    half = torch.stack([side / root, side * root], dim=1) / 2
    return torch.cat([-half, half], dim=1)


class AnchorGrid:
    """Anchors of an image of any feature map size.

    Args:
        base_size: side of an anchor of scale 1, pixels.
        ratios, scales: heights over widths, and multiples of `base_size`.
        stride: pixels from one location to the next; the first lies at half a stride.
    """

    def __init__(self, base_size: float, ratios: Sequence[float], scales: Sequence[float], stride: int) -> None:
        self.stride = stride
        self._base = base_anchors(base_size, ratios, scales)

    @property
    def per_location(self) -> int:
        """A, the anchors per location."""
        return len(self._base)

    def __call__(self, feature_height: int, feature_width: int) -> Tensor:
        """The (K, 4) float32 anchors of a feature map: the exact ones, rounded once."""
        return self.exact(feature_height, feature_width).float()

    def exact(self, feature_height: int, feature_width: int) -> Tensor:
        """The (K, 4) anchors in float64, which matching needs to find equal IoUs equal."""
        ys = (torch.arange(feature_height, dtype=torch.float64) + 0.5) * self.stride
        xs = (torch.arange(feature_width, dtype=torch.float64) + 0.5) * self.stride
        y, x = torch.meshgrid(ys, xs, indexing="ij")
        centres = torch.stack([x, y, x, y], dim=-1)
        return (centres[:, :, None] + self._base).reshape(-1, 4)


class KeptAnchors:
    """The anchors of feature maps of any size, cut out of the largest asked for so far, which stays on its device."""

    def __init__(self, grid: AnchorGrid) -> None:
        self._grid = grid
        self._kept = torch.empty(0, 0, grid.per_location, 4)

    def __call__(self, feature_height: int, feature_width: int, device: torch.device) -> Tensor:
        """The (K, 4) float32 anchors of a feature map, as the grid makes them."""
        height, width = self._kept.shape[:2]
        if feature_height > height or feature_width > width or self._kept.device != device:
            height, width = max(height, feature_height), max(width, feature_width)
            self._kept = self._grid(height, width).to(device).reshape(height, width, -1, 4)
        return self._kept[:feature_height, :feature_width].reshape(-1, 4)


def inside(anchors: Tensor, height: float, width: float, border: float = 0.0) -> Tensor:
    """(K,) bool: anchors that stick out of the image by at most `border` pixels on every side."""
    return (
        (anchors[:, 0] >= -border)
        & (anchors[:, 1] >= -border)
        & (anchors[:, 2] <= width + border)
        & (anchors[:, 3] <= height + border)
    )

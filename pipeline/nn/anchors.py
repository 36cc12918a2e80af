"""Anchors: reference boxes at every location of the feature maps (Faster R-CNN, section 3.1.1).

Shapes: Fh, Fw feature map height, width; A anchors per location; K anchors in an image, of all levels.
Order: level, then y, x, ratio, scale, as the RPN's outputs permuted to (Fh, Fw, A) come out level after level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.geometry.anchors import AnchorPlacement, first_location, grid_shapes, level_shapes, level_steps
from pipeline.geometry.layout import MapLayout

Sizes = Sequence[tuple[int, int]]


def base_anchors(
    base_size: float,
    ratios: Sequence[float],
    scales: Sequence[float],
    level_scale: float = 1.0,
    placement: AnchorPlacement = "centred",
    whole_sizes: bool = False,
) -> Tensor:
    """The (A, 4) float64 anchors of one location, centred on the origin.

    An anchor of ratio r (height over width) and scale s has the area (base_size * s) ** 2 on the first level.

    Args:
        level_scale, placement, whole_sizes: of a level, see `pipeline.geometry.anchors.level_shapes`.
    """
    # Not torch's sqrt: MKL computes it, whose last bit depends on the maker of the processor.
    half = level_shapes(grid_shapes(base_size, ratios, scales), level_scale, placement, whole_sizes) / 2
    # By way of a list, which can be traced.
    return torch.tensor(np.concatenate([-half, half], axis=1).tolist(), dtype=torch.float64)


class AnchorGrid:
    """Anchors of an image of any size.

    Args:
        base_size: side of an anchor of scale 1 on the first level, pixels; on another it is as much larger as the
            stride is.
        ratios, scales: heights over widths, and multiples of `base_size`.
        layout: the levels of the maps that the anchors lie on.
        placement: how they lie on the cells, see `pipeline.geometry.anchors`.
        whole_sizes: truncate sizes to whole pixels, see `pipeline.geometry.anchors.level_shapes`.
    """

    def __init__(
        self,
        base_size: float,
        ratios: Sequence[float],
        scales: Sequence[float],
        layout: MapLayout,
        placement: AnchorPlacement = "centred",
        whole_sizes: bool = False,
    ) -> None:
        self.layout, self._placement = layout, placement
        self._bases = [
            base_anchors(base_size, ratios, scales, scale, placement, whole_sizes) for scale in layout.scales
        ]

    @property
    def per_location(self) -> int:
        """A, the anchors per location."""
        return len(self._bases[0])

    def __call__(self, sizes: Sizes) -> Tensor:
        """The (K, 4) float32 anchors of maps of these (Fh, Fw), one per level: the exact ones, rounded once."""
        return self.exact(sizes).float()

    def exact(self, sizes: Sizes) -> Tensor:
        """The (K, 4) anchors in float64, which matching needs to find equal IoUs equal."""
        levels = enumerate(zip(sizes, self.steps(sizes), strict=True))
        return joined([self.of_level(level, *size, steps) for level, (size, steps) in levels])

    def steps(self, sizes: Sizes) -> list[tuple[int, int]]:
        """Pixels from one location to the next below and to the next at the right, of each level of maps of these
        (Fh, Fw); sizes may be symbols of a trace."""
        down, right = zip(*sizes, strict=True)
        levels = range(len(sizes))
        return [
            (
                level_steps(self.layout, down, level, self._placement),
                level_steps(self.layout, right, level, self._placement),
            )
            for level in levels
        ]

    def of_level(self, level: int, feature_height: int, feature_width: int, steps: tuple[int, int]) -> Tensor:
        """The (Fh * Fw * A, 4) exact anchors of one level's map; sizes and steps may be symbols of a trace."""
        cells = zip((feature_height, feature_width), steps, strict=True)
        first = first_location(self._placement)
        y, x = ((torch.arange(count, dtype=torch.float64) + first) * step for count, step in cells)
        rows, columns = y[:, None].expand(-1, feature_width), x[None].expand(feature_height, -1)
        centres = torch.stack([columns, rows, columns, rows], dim=-1)
        return (centres[:, :, None] + self._bases[level]).reshape(-1, 4)


class KeptAnchors:
    """The anchors of maps of any size, cut out of the largest requested so far, which stay on their device."""

    def __init__(self, grid: AnchorGrid) -> None:
        self._grid = grid
        self._kept: dict[tuple[int, tuple[int, int]], Tensor] = {}

    def __call__(self, sizes: Sizes, device: torch.device, steps: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """The (K, 4) float32 anchors of maps of these (Fh, Fw), as the grid makes them.

        Args:
            steps: of each level, as `AnchorGrid.steps` gives them; None: of maps of these sizes. An image in a batch
                has its own in the maps that it is padded to.
        """
        levels = enumerate(zip(sizes, self._grid.steps(sizes) if steps is None else steps, strict=True))
        return joined([self._of_level(level, *size, steps, device) for level, (size, steps) in levels])

    def _of_level(
        self, level: int, feature_height: int, feature_width: int, steps: tuple[int, int], device: torch.device
    ) -> Tensor:
        kept = self._kept.get((level, steps))
        height, width = (0, 0) if kept is None else kept.shape[:2]
        if kept is None or feature_height > height or feature_width > width or kept.device != device:
            height, width = max(height, feature_height), max(width, feature_width)
            own = self._grid.of_level(level, height, width, steps)
            kept = own.float().to(device).reshape(height, width, -1, 4)
            self._kept[level, steps] = kept
        return kept[:feature_height, :feature_width].reshape(-1, 4)


def joined(levels: Sequence[Tensor]) -> Tensor:
    """What lies on each level in one tensor, level after level; of one level as it is."""
    return levels[0] if len(levels) == 1 else torch.cat(list(levels))


def inside(anchors: Tensor, height: float, width: float, border: float = 0.0) -> Tensor:
    """(K,) bool: anchors that stick out of the image by at most `border` pixels on every side."""
    return (
        (anchors[:, 0] >= -border)
        & (anchors[:, 1] >= -border)
        & (anchors[:, 2] <= width + border)
        & (anchors[:, 3] <= height + border)
    )

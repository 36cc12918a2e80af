"""The maps that a network computes for an image: the levels, and the stride, depth and size of each.

Nothing else knows a stride. A trunk has its layout in `Trunk.layout`; `pipeline.geometry.backbones` gives it by name,
without torch.

Shapes: H, W image height, width; Fh, Fw feature map height, width.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Level:
    """One map.

    Attributes:
        stride: pixels from one cell to the next; the first cell's centre lies at half a stride.
        channels: depth of the map.
        round_up: whether the number of cells is rounded up where a side is not a multiple of the stride.
        pooled: whether RoIs are pooled from it; anchors lie on it in any case.
    """

    stride: int
    channels: int
    round_up: bool = False
    pooled: bool = True

    def cells(self, sides: Integers) -> Integers:
        """Cells along an axis, Fw or Fh, of images whose side has so many pixels, at least 1; any shape."""
        return np.maximum(-(-sides // self.stride) if self.round_up else sides // self.stride, 1)


@dataclass(frozen=True)
class MapLayout:
    """The levels of a network's maps, the finest first; most have one.

    Attributes:
        multiple: images are padded to a multiple of so many pixels, below and at the right.
    """

    levels: tuple[Level, ...]
    multiple: int = 1

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: there is no level, strides do not ascend, or no RoI could be pooled from any.
        """
        if not self.levels or any(a >= b for a, b in itertools.pairwise(self.strides)):
            raise ValueError(
                f"levels of strides {self.strides}: give the finest first, each coarser than the one before"
            )
        if not any(level.pooled for level in self.levels):
            raise ValueError("no level is pooled from: give one at least")

    def padded(self, sides: Integers) -> Integers:
        """Sides of images, px, as a trunk pads them: to a cell on every level, then to the multiple; any shape."""
        sides = np.maximum(sides, self.least_side)
        padded: Integers = -(-sides // self.multiple) * self.multiple
        return padded

    def sizes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """(Fh, Fw) of each level's map of an image of (H, W)."""
        sides = self.padded(np.array([height, width]))
        return tuple((int(high), int(wide)) for high, wide in (level.cells(sides) for level in self.levels))

    def values(self, height: int, width: int, levels: Sequence[Level] | None = None) -> int:
        """How many numbers the maps of an image of (H, W) hold.

        Args:
            levels: of other maps of the same padded image; None: the layout's own.
        """
        sides = self.padded(np.array([height, width]))
        own = self.levels if levels is None else levels
        return sum(level.channels * int(level.cells(sides).prod()) for level in own)

    @property
    def pooled(self) -> MapLayout:
        """The levels that RoIs are pooled from."""
        return replace(self, levels=tuple(level for level in self.levels if level.pooled))

    @property
    def strides(self) -> tuple[int, ...]:
        """The stride of each level, pixels."""
        return tuple(level.stride for level in self.levels)

    @property
    def scales(self) -> tuple[float, ...]:
        """The stride of each level as a multiple of the first's; so much larger are its anchors."""
        return tuple(level.stride / self.levels[0].stride for level in self.levels)

    def prefix(self, level: int) -> str:
        """What captions put before a level: its place and stride; nothing where there is one level."""
        return f"level {level}, stride {self.strides[level]}: " if len(self.levels) > 1 else ""

    @property
    def channels(self) -> int:
        """The depth that all maps have, which a head that runs on every level with the same weights asks for.

        Raises:
            ValueError: depths differ; `pipeline.building.layout.one_depth` tells a user so.
        """
        depths = [level.channels for level in self.levels]
        if len(set(depths)) > 1:
            raise ValueError(f"levels of {depths} channels: a head that shares its weights needs all the same")
        return depths[0]

    @property
    def least_side(self) -> int:
        """The least side, px, with a cell on every level."""
        return max(self.strides)

"""Where a dense head predicts: at every location of every level, without torch.

Shapes: Fh, Fw feature map height, width of a level; A predictions of a cell (its anchors; 1 where a head has none); N
locations of an image, of all levels. Order: level, then y, x, anchor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.geometry.layout import MapLayout

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Cells = tuple[tuple[int, int], ...]


class LevelsError(ValueError):
    """Values given per level do not match the levels."""


class Places(NamedTuple):
    """The meaning of flat indices: `level`, `y`, `x` and `anchor`, each int64 of their shape."""

    level: Integers
    y: Integers
    x: Integers
    anchor: Integers


@dataclass(frozen=True)
class Grid:
    """The N locations of an image.

    Attributes:
        strides: of each level, px. cells: its (Fh, Fw). per_cell: its A.
    """

    strides: tuple[int, ...]
    cells: Cells
    per_cell: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many locations each level has."""
        return tuple(high * wide * each for (high, wide), each in zip(self.cells, self.per_cell, strict=True))

    def __len__(self) -> int:
        """N."""
        return sum(self.counts)

    def split(self, values: npt.NDArray) -> list[npt.NDArray]:
        """(N, ...) values level by level, each as (Fh, Fw, A, ...), without a copy."""
        parts = np.split(values, np.cumsum(self.counts)[:-1])
        shapes = [(*cells, each) for cells, each in zip(self.cells, self.per_cell, strict=True)]
        return [part.reshape(*shape, *values.shape[1:]) for part, shape in zip(parts, shapes, strict=True)]

    def centres(self) -> Floats:
        """(N, 2) x, y of the locations, px of the image that the network sees; the first cell's is half a stride."""
        found = []
        for (high, wide), stride, each in zip(self.cells, self.strides, self.per_cell, strict=True):
            y, x = np.meshgrid((np.arange(high) + 0.5) * stride, (np.arange(wide) + 0.5) * stride, indexing="ij")
            found.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), each, axis=0))
        return np.concatenate(found)

    def levels(self) -> Integers:
        """(N,) the level of each location, counted from 0."""
        return np.repeat(np.arange(len(self.cells)), self.counts)

    def places(self, index: Integers) -> Places:
        """Level, y, x and anchor of flat indices 0..N-1."""
        index = np.asarray(index, np.int64)
        ends = np.cumsum(self.counts)
        level = np.searchsorted(ends, index, side="right")
        cell, anchor = np.divmod(index - (ends - self.counts)[level], np.asarray(self.per_cell)[level])
        y, x = np.divmod(cell, np.asarray(self.cells)[level, 1])
        return Places(level, y, x, anchor)

    def index(self, places: Places) -> Integers:
        """The inverse of `places`."""
        starts = np.cumsum(self.counts) - self.counts
        level, y, x, anchor = places
        cell = y * np.asarray(self.cells)[level, 1] + x
        return np.asarray(starts[level] + cell * np.asarray(self.per_cell)[level] + anchor, np.int64)

    def within(self, padded: Grid) -> Integers:
        """(N,) where the locations lie among those of the same image, padded below and at the right."""
        return padded.index(self.places(np.arange(len(self))))


_GRID = 64.0  # per px; a power of two


def on_grid(boxes: npt.NDArray[np.floating]) -> Floats:
    """Coordinates as float64, to the nearest 1/64 px; any shape.

    Resized and mirrored boxes carry float32's rounding: what is equal by arithmetic differs by 1e-4 px or less. On the
    grid it is equal, and so are sums, differences and products of what lies on it, which float64 holds exactly.
    """
    rounded: Floats = np.round(boxes.astype(np.float64) * _GRID) / _GRID
    return rounded


def edge_distances(centres: Floats, boxes: npt.NDArray[np.float32]) -> Floats:
    """(N, G, 4) float64 px from (N, 2) points to the left, top, right and bottom edge of (G, 4) boxes, which are put on
    a grid (`on_grid`); all above 0 where a point lies inside a box."""
    own = on_grid(boxes)
    return np.concatenate([centres[:, None] - own[:, :2], own[:, 2:] - centres[:, None]], axis=2)


def inside_any(centres: Floats, boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """(N,) whether each of (N, 2) points lies inside one of (G, 4) boxes, as by `edge_distances`; of memory for one."""
    x, y = np.ascontiguousarray(centres.T)
    inside = np.zeros(len(centres), bool)
    for left, top, right, bottom in on_grid(boxes).tolist():
        inside |= (x > left) & (x < right) & (y > top) & (y < bottom)
    return inside


@dataclass(frozen=True)
class Locations:
    """Where a dense head predicts in images of any size.

    Attributes:
        layout: the levels of the head's own maps; of its channels nothing is read.
        per_cell: A of each level.
    """

    layout: MapLayout
    per_cell: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.per_cell) != len(self.layout.levels) or min(self.per_cell, default=0) < 1:
            raise LevelsError(
                f"per_cell {self.per_cell}: give a number from 1 for each level, of strides {self.layout.strides}"
            )

    def of(self, height: int, width: int) -> Grid:
        """The locations of an image of (H, W), at least one of each level.

        The maps of an image thinner than the largest stride have more cells, see `of_maps`; those are padding.
        """
        sides = np.array([height, width])
        return self.of_cells([tuple(level.cells(sides).tolist()) for level in self.layout.levels])

    def of_maps(self, height: int, width: int) -> Grid:
        """The locations of the maps that a network makes of an image of (H, W), which has a cell of each level."""
        return self.of_cells(self.layout.sizes(height, width))

    def of_cells(self, cells: Sequence[tuple[int, int]]) -> Grid:
        """The locations of maps of these (Fh, Fw), one per level, which may be symbols of a trace."""
        return Grid(self.layout.strides, tuple(cells), self.per_cell)

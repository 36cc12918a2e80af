"""RoIPool against RoIAlign on one RoI."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.geometry.layout import MapLayout
from pipeline.geometry.pooling import Pooling, pool_rois
from pipeline.nn.roi_pooling import pool_levels
from pipeline.views.contact_sheet import GAP, Tile
from pipeline.views.drawing import BLACK, TEXT_SIZE, draw_text
from pipeline.views.marks import heat_map
from pipeline.walk import by_hand
from pipeline.walk.checking import same

SAMPLES = (1, 2, 4, 0)
"""RoIAlign's, on each axis of a bin; 0: as many as the bin has cells, rounded up."""

_FIRST_MOVES = (1, 4)  # px


@dataclass(frozen=True)
class Pooled:
    """One way to pool the RoI: its name, samples (None of RoIPool), one bin's value, the difference from the densest
    RoIAlign (mean over all features, in shares of their mean), and how far features move with the RoI, move by move."""

    name: str
    samples: int | None
    first_bin: float
    difference: float
    moved: list[float]
    features: np.ndarray


@dataclass(frozen=True)
class PooledRoI:
    """A RoI pooled in several ways.

    Attributes:
        roi: px. in_cells: the same over the stride; rounded: what RoIPool makes of that, inclusive cells.
        bin_cells: height and width of a bin of RoIAlign, cells; cell_samples: the samples of one per cell.
        channel: the one whose features vary most, which is shown. moves: px by which the RoI is moved to the right.
        still: most px that the RoI moves to the right, and down, without a change of `rounded`.
        sample: x, y in cells of the sample in the first bin of RoIAlign with one sample, and its value by hand.
    """

    roi: list[float]
    in_cells: list[float]
    rounded: list[int]
    cells: tuple[int, int]
    bin_cells: tuple[float, float]
    cell_samples: tuple[int, int]
    size: int
    channel: int
    moves: list[int]
    still: tuple[int, int]
    ways: list[Pooled]
    sample: tuple[float, float, float]


def pooled_roi(maps: Tensor, roi: np.ndarray, layout: MapLayout, size: int) -> PooledRoI:
    """Pool a (4,) RoI, px, from a (1, D, Fh, Fw) map in each way."""
    stride = layout.strides[0]
    kinds = [Pooling("roi_pool", size), *(Pooling("roi_align", size, samples) for samples in SAMPLES)]
    whole = [_pool(maps, roi, layout, kind) for kind in kinds]
    for kind, own in zip(kinds, whole, strict=True):
        compared = pool_rois([maps[0].numpy()], roi[None].astype(np.float32), layout, kind)[0]
        same(f"{kind.kind} of {kind.samples} samples", own.flatten().tolist(), compared.flatten().tolist(), 1e-3)
    densest = whole[SAMPLES.index(max(SAMPLES)) + 1]
    scale = max(float(densest.mean()), 1e-12)
    channel = int(np.argmax(densest.std(axis=(1, 2))))
    still = _still(roi, stride, (1, 0)), _still(roi, stride, (0, 1))
    moves = sorted({*_FIRST_MOVES, still[0], still[0] + 1} - {0})
    ways = []
    for kind, own in zip(kinds, whole, strict=True):
        moved = [
            float(np.abs(_pool(maps, roi + np.array([move, 0, move, 0]), layout, kind) - own).mean()) / scale
            for move in moves
        ]
        name, samples = ("RoIPool", None) if kind.kind == "roi_pool" else ("RoIAlign", kind.samples)
        difference = float(np.abs(own - densest).mean()) / scale
        ways.append(Pooled(name, samples, float(own[channel, 0, 0]), difference, moved, own[channel]))
    cells = roi / stride
    rounded = _rounded(roi, stride)
    x1, y1, x2, y2 = (cells - 0.5).tolist()
    place = x1 + (x2 - x1) / size / 2, y1 + (y2 - y1) / size / 2
    value = by_hand.bilinear(maps[0, channel].tolist(), *place)
    same("one bilinear sample", [value], [ways[1 + SAMPLES.index(1)].first_bin], 1e-4)
    return PooledRoI(
        roi.tolist(),
        cells.tolist(),
        rounded.tolist(),
        (int(rounded[3] - rounded[1] + 1), int(rounded[2] - rounded[0] + 1)),
        ((y2 - y1) / size, (x2 - x1) / size),
        (math.ceil((y2 - y1) / size), math.ceil((x2 - x1) / size)),
        size,
        channel,
        moves,
        still,
        ways,
        (*place, value),
    )


def _rounded(roi: np.ndarray, stride: int) -> np.ndarray:
    """(4,) int: the corners that RoIPool makes of a RoI, px, in cells."""
    return np.floor(roi.astype(np.float32) / np.float32(stride) + np.float32(0.5)).astype(int)


def _still(roi: np.ndarray, stride: int, direction: tuple[int, int]) -> int:
    """Most px that a RoI moves in a direction (x, y) before RoIPool sees a change; less than a cell."""
    step = np.tile(direction, 2)
    jump = next(
        move for move in range(stride + 1) if (_rounded(roi + move * step, stride) != _rounded(roi, stride)).any()
    )
    return jump - 1


def _pool(maps: Tensor, roi: np.ndarray, layout: MapLayout, kind: Pooling) -> np.ndarray:
    rois = torch.from_numpy(roi[None].astype(np.float32))
    with torch.inference_mode():
        pooled: np.ndarray = pool_levels([maps], [rois], layout, kind)[0].numpy()
    return pooled


def pooling_picture(own: PooledRoI, side: int) -> Tile:
    """One channel of the RoI, pooled in each way, in one scale of colours."""
    high = max(float(way.features.max()) for way in own.ways)
    wide = (2 * side + GAP - 6 * (len(own.ways) - 1)) // len(own.ways)
    cells = []
    for way in own.ways:
        name = way.name if way.samples is None else f"{way.name}, {_samples_text(way.samples)}"
        heading = np.full((TEXT_SIZE + 6, wide, 3), 255, np.uint8)
        draw_text(heading, name, (2, 3), BLACK)
        cells += [np.concatenate([heading, heat_map(way.features, (wide, wide), 0.0, high)])]
        cells += [np.full((wide + TEXT_SIZE + 6, 6, 3), 255, np.uint8)]
    caption = f"channel {own.channel} of one RoI, {own.size} x {own.size}, one scale of colours"
    return Tile(np.concatenate(cells[:-1], axis=1), caption, wide=True)


def _samples_text(samples: int) -> str:
    return f"{samples} x {samples}" if samples else "one per cell"

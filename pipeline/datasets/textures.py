"""Backgrounds of the generated data set: textured, muted, and of other families and hues in test than in train.

Each texture is a function (rng, x, y) -> (H, W) in 0..1 of pixel coordinates; `background` mixes two colours by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pipeline.datasets.base import Split

Array = npt.NDArray[np.float32]
Texture = Callable[[np.random.Generator, Array, Array], Array]

_HUES = {"train": (0.0, 0.5), "val": (0.5, 1.0), "test": (0.5, 1.0)}  # of the colour circle
_NOISE_STD = 2.5  # grey levels


def background(rng: np.random.Generator, split: Split, size: int) -> Array:
    """A (size, size, 3) RGB texture, 0..255, of one of the families of `split`."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    texture = _FAMILIES[split][rng.integers(len(_FAMILIES[split]))]
    mix = texture(rng, x, y)[..., None]
    first, second = _palette(rng, split)
    grain = rng.standard_normal((size, size, 1), np.float32) * np.float32(_NOISE_STD)
    return np.clip(first + (second - first) * mix + grain, 0, 255)


def _palette(rng: np.random.Generator, split: Split) -> Array:
    """Two muted RGB colours (2, 3) of neighbouring hue that differ visibly in brightness."""
    hue = rng.uniform(*_HUES[split]) + rng.uniform(-0.04, 0.04, 2)
    saturation = rng.uniform(0.1, 0.45, 2)
    dark = rng.uniform(0.2, 0.65)
    value = np.array([dark, dark + rng.uniform(0.1, 0.22)])
    hsv = np.stack([hue % 1 * 360, saturation, value], axis=-1).astype(np.float32)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0] * np.float32(255)


def _turned(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array]:
    """The coordinates in a frame turned and shifted at random."""
    angle = rng.uniform(0, np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    shift = rng.uniform(0, 100, 2).astype(np.float32)
    return cos * x + sin * y + shift[0], cos * y - sin * x + shift[1]


def _clouds(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Value noise: three octaves of random grids, interpolated."""
    cells = int(rng.integers(2, 6))
    total = np.zeros_like(x)
    for octave in range(3):
        grid = rng.random((cells * 2**octave + 1,) * 2, np.float32)
        total += cv2.resize(grid, x.shape[::-1], interpolation=cv2.INTER_CUBIC) * np.float32(0.5**octave)
    low, high = total.min(), total.max()
    return (total - low) / (high - low)


def _stripes(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Soft parallel bands, slightly bent."""
    u, v = _turned(rng, x, y)
    period = rng.uniform(7, 30)
    bend = rng.uniform(0, 4) * np.sin(v * np.float32(2 * np.pi / rng.uniform(80, 200)))
    return (0.5 + 0.5 * np.sin((u + bend) * (2 * np.pi / period))).astype(np.float32)


def _ripples(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Rings around a point in the image or near it."""
    centre = rng.uniform(-0.2, 1.2, 2).astype(np.float32) * np.float32(x.shape[0])
    period = rng.uniform(8, 30)
    return (0.5 + 0.5 * np.sin(np.hypot(x - centre[0], y - centre[1]) * (2 * np.pi / period))).astype(np.float32)


def _swell(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Three waves across one another: irregular soft bumps."""
    total = np.zeros_like(x)
    for _ in range(3):
        u, _v = _turned(rng, x, y)
        total += np.sin(u * np.float32(2 * np.pi / rng.uniform(12, 50)))
    return (0.5 + total / 6).astype(np.float32)


def _checker(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """A turned chessboard of small cells with soft borders."""
    u, v = _turned(rng, x, y)
    step = np.float32(np.pi / rng.uniform(6, 13))
    return np.clip(0.5 + 1.5 * np.sin(u * step) * np.sin(v * step), 0, 1)


def _voronoi(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Cells around random seeds, each of its own tone, joined by thin darker seams."""
    size = np.float32(x.shape[0])
    seeds = rng.random((int(rng.integers(14, 26)), 3), np.float32)
    nearest, second, tone = np.full_like(x, np.inf), np.full_like(x, np.inf), np.zeros_like(x)
    for seed_x, seed_y, seed_tone in seeds:
        distance = ((x[:1] - seed_x * size) ** 2) + ((y[:, :1] - seed_y * size) ** 2)
        closer = distance < nearest
        np.minimum(second, np.maximum(nearest, distance), out=second)
        tone[closer] = seed_tone
        np.minimum(nearest, distance, out=nearest)
    return tone * np.clip((np.sqrt(second) - np.sqrt(nearest)) / 3, 0.3, 1)


def _dots(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """A turned lattice of small soft dots."""
    u, v = _turned(rng, x, y)
    step = np.float32(rng.uniform(8, 16))
    distance = np.hypot(u % step - step / 2, v % step - step / 2)
    return np.clip(step * np.float32(rng.uniform(0.2, 0.32)) - distance + 0.5, 0, 1)


_FAMILIES: dict[Split, tuple[Texture, ...]] = {
    "train": (_clouds, _stripes, _ripples, _swell),
    "val": (_checker, _voronoi, _dots),
    "test": (_checker, _voronoi, _dots),
}

"""Images of ellipses, rectangles and triangles on textured backgrounds.

Each object fills its box: the ellipse is inscribed, the triangle is isosceles and points up. An image's boxes stand in
drawing order, a later object on top of an earlier one. About a fifth of the objects, the covered ones, have a third or
more of their area hidden by one partner on top; all other overlap is slight, and nothing is hidden by more than about
60 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.datasets.textures import background

if TYPE_CHECKING:
    from pipeline.datasets.base import Split

Array = npt.NDArray[np.float32]

CLASSES = ("ellipse", "rectangle", "triangle")

_EMPTY_FRACTION = 0.03  # of the images
_COVERED_BOX = (0.37, 0.52)  # share of a covered object's box that its partner's box overlaps
_COVERED_AREA = (0.37, 0.46)  # share of a covered object's area that its partner hides
_PARTNER_BOX = 0.3  # most of the partner's own box in that overlap, so that the pair counts once however one counts
_SLIGHT = 0.08  # most of an object's box that all objects but its partner may overlap together
_CONTRAST = 90.0  # RGB distance of a fill from what lies around it
_CANDIDATES = 512  # layouts tried at once, for at most _ROUNDS rounds
_ROUNDS = 4


@dataclass(frozen=True)
class ShapesOptions:
    """How many images, and what stands in them; sides in pixels."""

    train: int
    test: int
    val: int = 0
    image_size: int = 256
    max_objects: int = 8
    min_side: int = 16
    max_side: int = 160  # and at most 5/8 of the image
    max_ratio: float = 3.0  # of the sides, either way
    overlap_fraction: float = 0.2  # of the objects; aimed at from a little above


def draw_image(
    rng: np.random.Generator, split: Split, options: ShapesOptions
) -> tuple[npt.NDArray[np.uint8], Array, npt.NDArray[np.int16]]:
    """Draw one image: (H, W, 3) uint8 RGB pixels, (G, 4) float32 boxes in pixels, (G,) labels 1..3."""
    kinds, boxes = _arrange(rng, options)
    canvas = background(rng, split, options.image_size)
    for kind, box in zip(kinds, boxes, strict=True):
        _draw(rng, canvas, kind, box)
    return np.rint(canvas).astype(np.uint8), boxes.astype(np.float32), kinds + np.int16(1)


def _arrange(rng: np.random.Generator, options: ShapesOptions) -> tuple[npt.NDArray[np.int16], Array]:
    """Kinds (G,) 0..2, and boxes (G, 4) of whole numbers; fewer than were drawn where there is no room."""
    count = int(rng.integers(1, options.max_objects + 1)) if rng.random() >= _EMPTY_FRACTION else 0
    pairs = min(int(count * options.overlap_fraction * 1.2 + rng.random()), count // 2)
    kinds = np.empty(0, np.int16)
    boxes = np.empty((0, 4), np.float32)
    spent = np.empty(0, np.float32)  # px of each box that other units overlap
    for members in [2] * pairs + [1] * (count - 2 * pairs):
        unit_kinds = rng.integers(len(CLASSES), size=members).astype(np.int16)
        for _ in range(_ROUNDS):
            units = _propose(rng, options, unit_kinds)
            shared = _intersection(units[:, :, None], boxes)  # (candidates, members, placed)
            fits = (shared.sum(2) <= _SLIGHT * _area(units)).all(1)
            fits &= (shared.sum(1) + spent <= _SLIGHT * _area(boxes)).all(1)
            if fits.any():
                chosen = int(fits.argmax())
                kinds = np.concatenate([kinds, unit_kinds])
                boxes = np.concatenate([boxes, units[chosen]])
                spent = np.concatenate([spent + shared[chosen].sum(0), shared[chosen].sum(1)])
                break
    return kinds, boxes


def _propose(rng: np.random.Generator, options: ShapesOptions, kinds: npt.NDArray[np.int16]) -> Array:
    """Candidates (N, members, 4) of one object, or of a covered object and its partner on top, all inside the image."""
    first = _sizes(rng, options)
    corner = np.floor(rng.random((len(first), 2), np.float32) * (options.image_size - first + 1))
    covered = np.concatenate([corner, corner + first], axis=1)
    if len(kinds) == 1:
        return covered[:, None]
    second = _sizes(rng, options)[: len(first)]
    first, corner, covered = first[: len(second)], corner[: len(second)], covered[: len(second)]
    corner = np.floor(corner - second + rng.random(second.shape, np.float32) * (first + second))
    partner = np.concatenate([corner, corner + second], axis=1)
    shared = _intersection(covered, partner)
    fits = ((corner >= 0) & (corner + second <= options.image_size)).all(1) & (shared <= _PARTNER_BOX * _area(partner))
    fits &= (shared >= _COVERED_BOX[0] * _area(covered)) & (shared <= _COVERED_BOX[1] * _area(covered))
    covered, partner = covered[fits], partner[fits]
    hidden = _hidden_share(kinds, covered, partner)
    return np.stack([covered, partner], axis=1)[(hidden >= _COVERED_AREA[0]) & (hidden <= _COVERED_AREA[1])]


def _sizes(rng: np.random.Generator, options: ShapesOptions) -> Array:
    """Widths and heights (N, 2), whole numbers: scale uniform, ratio log-uniform, those outside the limits left out."""
    low, high = options.min_side, min(options.max_side, options.image_size * 5 // 8)
    scale = rng.uniform(low, high, _CANDIDATES)
    stretch = np.exp(rng.uniform(-0.5, 0.5, _CANDIDATES) * np.log(options.max_ratio))
    sizes = np.rint(np.stack([scale * stretch, scale / stretch], axis=1)).astype(np.float32)
    short, long = sizes.min(1), sizes.max(1)
    return sizes[(short >= low) & (long <= high) & (long <= options.max_ratio * short)]


def _hidden_share(kinds: npt.NDArray[np.int16], covered: Array, partner: Array) -> Array:
    """The share of each covered shape's area that lies under its partner, from 24 x 24 points."""
    grid = (np.arange(24, dtype=np.float32) + np.float32(0.5)) / 24
    x1, y1, x2, y2 = covered.T[..., None, None]
    x, y = x1 + (x2 - x1) * grid, y1 + (y2 - y1) * grid[:, None]
    own = _distance(kinds[0], covered.T[..., None, None], x, y) < 0
    under = own & (_distance(kinds[1], partner.T[..., None, None], x, y) < 0)
    return under.sum((1, 2)) / np.maximum(own.sum((1, 2)), 1)


def _draw(rng: np.random.Generator, canvas: Array, kind: int, box: Array) -> None:
    """Draw one object onto `canvas` (H, W, 3), with anti-aliased edges, in colours that stand out."""
    x1, y1, x2, y2 = box.astype(int)
    around = canvas[max(y1 - 6, 0) : y2 + 6, max(x1 - 6, 0) : x2 + 6]
    around = around[:: max(len(around) // 8, 1), :: max(around.shape[1] // 8, 1)].reshape(-1, 3)
    fill = _contrasting_colour(rng, around)
    outline = _contrasting_colour(rng, np.concatenate([around, fill[None]]))
    thickness = rng.uniform(1.5, 1.5 + min(x2 - x1, y2 - y1) / 30)

    y, x = np.mgrid[y1:y2, x1:x2].astype(np.float32) + np.float32(0.5)
    distance = _distance(kind, box, x, y)[..., None]
    colour = outline + (fill - outline) * np.clip(0.5 - distance - thickness, 0, 1)
    region = canvas[y1:y2, x1:x2]
    region += (colour - region) * np.clip(0.5 - distance, 0, 1)


def _contrasting_colour(rng: np.random.Generator, around: Array) -> Array:
    """The first of some random RGB colours that is far from all of `around` (N, 3), else the farthest."""
    colours = rng.uniform(0, 255, (32, 3)).astype(np.float32)
    nearest = np.linalg.norm(colours[:, None] - around, axis=2).min(1)
    far = nearest >= _CONTRAST
    return colours[far.argmax() if far.any() else nearest.argmax()]


def _distance(kind: int, box: Array, x: Array, y: Array) -> Array:
    """Signed distance in pixels, negative inside, of points to the edge of a shape that fills `box` (4, ...)."""
    x1, y1, x2, y2 = box
    half_width, half_height = (x2 - x1) / 2, (y2 - y1) / 2
    across, down = np.abs(x - (x1 + x2) / 2), y - (y1 + y2) / 2
    if CLASSES[kind] == "rectangle":
        return np.maximum(across - half_width, np.abs(down) - half_height)
    if CLASSES[kind] == "triangle":
        side = across * 2 * half_height - half_width * (y - y1)
        return np.maximum(side / np.hypot(2 * half_height, half_width), y - y2)
    u, v = across / half_width, down / half_height
    gradient = 2 * np.hypot(u / half_width, v / half_height)  # first-order distance, exact enough near the edge
    return (u * u + v * v - 1) / np.maximum(gradient, 1e-6)


def _intersection(a: Array, b: Array) -> Array:
    """Area of a ∩ b (..., 4), broadcast."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return sides.clip(min=0).prod(-1)


def _area(boxes: Array) -> Array:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)

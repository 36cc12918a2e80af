"""How a training image is seen in an epoch: drawn as SSD draws it (Liu et al., section 2.2), from seeded generators.

Follows weiliu89/caffe, branch ssd: light and colour, then a larger canvas, then a part of it, then a mirror.
docs/parameters.md says where this differs.

Shapes: G gt boxes of the image, px of the image that is drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.augment.draw import ANY, WHOLE, Draw
from pipeline.augment.light import PLAIN, Light
from pipeline.augment.window import Rectangle, Window, centres_inside
from pipeline.geometry.points import on_grid
from pipeline.metrics.rows import pair_iou
from pipeline.runtime.seeding import numpy_generator

if TYPE_CHECKING:
    from pipeline.params.augment import AugmentParams, CropParams, ExpandParams, PhotometricParams


def draw(
    params: AugmentParams, source: tuple[int, int], boxes: np.ndarray, generator: Callable[[str], np.random.Generator]
) -> Draw:
    """Draw how an image is seen.

    Args:
        source: (H, W) of the image. boxes: (G, 4), its trainable gt boxes.
        generator: gives each part its own by name, so that one that is switched off changes none of the others.
    """
    boxes = on_grid(boxes)
    expand, canvas = _expanded(params.expand, source, generator("expand"))
    min_iou, shown = _cropped(params.crop, canvas, boxes, generator("crop"))
    flip = bool(generator("flip").random() < params.flip)
    light = _lit(params.photometric, generator("photometric"))
    return Draw(Window(source, shown, flip), light, expand, min_iou)


def generators(seed: int, stage: str, epoch: int, image_id: str) -> Callable[[str], np.random.Generator]:
    """The generators of one image in one epoch, by part."""
    return lambda part: numpy_generator(seed, stage, "draw", part, epoch, image_id)


def _rounded(value: float) -> float:
    """Rounded as tables store it, so that values read back equal those drawn."""
    return float(np.float32(value))


def _lit(params: PhotometricParams, generator: np.random.Generator) -> Light:
    made = generator.random(4) < params.probability
    contrast_first = bool(generator.random() < 0.5)
    ranges = (
        (-params.brightness, params.brightness),
        params.contrast,
        params.saturation,
        (-params.hue, params.hue),
    )
    values = [generator.uniform(low, high) for low, high in ranges]
    at_rest = PLAIN[: len(ranges)]
    own = [_rounded(value) if is_made else rest for is_made, value, rest in zip(made, values, at_rest, strict=True)]
    return Light(own[0], own[1], own[2], own[3], contrast_first)


def _expanded(params: ExpandParams, source: tuple[int, int], generator: np.random.Generator) -> tuple[float, Rectangle]:
    """How many times as large the canvas is, and where it lies, px of the image."""
    height, width = source
    if not generator.random() < params.probability:
        return 1.0, Rectangle(0, 0, width, height)
    ratio = generator.uniform(1.0, params.largest)
    wide, high = int(width * ratio), int(height * ratio)
    left, top = (math.floor(generator.uniform(0.0, more)) for more in (wide - width, high - height))
    return _rounded(ratio), Rectangle(-left, -top, wide - left, high - top)


def _cropped(
    params: CropParams, canvas: Rectangle, boxes: np.ndarray, generator: np.random.Generator
) -> tuple[str, Rectangle]:
    """The rule that was drawn and could be met, and the part of the canvas that is seen. A rule that no trial meets
    gives way to another, so that each is as likely as it can be met; an image without gt boxes is seen whole."""
    rules: list[Any] = list(params.min_iou)
    while rules and len(boxes):
        rule = rules[generator.integers(len(rules))]
        if rule == WHOLE:
            break
        least = 0.0 if rule == ANY else float(rule)
        trials = _parts_of(params, canvas, generator)
        inside = centres_inside(boxes, trials)
        iou = np.where(inside, pair_iou(trials[:, None].astype(np.float64), boxes), -1.0).max(axis=1)
        found = np.flatnonzero(iou >= least)
        if len(found):
            return str(rule), Rectangle(*trials[found[0]].tolist())
        rules.remove(rule)
    return WHOLE, canvas


def _parts_of(params: CropParams, canvas: Rectangle, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """(trials, 4) rectangles of whole pixels: `side` is the root of their share of the canvas, `ratio` their width over
    their height, measured in sides of the canvas."""
    side, ratio, *places = generator.random((4, params.trials))
    side = params.side[0] + (params.side[1] - params.side[0]) * side
    ratio = params.ratio[0] + (params.ratio[1] - params.ratio[0]) * ratio
    root = np.sqrt(np.clip(ratio, side**2, 1 / side**2))
    low, high = [], []
    for share, place, cells in zip((side * root, side / root), places, canvas.size[::-1], strict=True):
        start = place * (1.0 - np.minimum(share, 1.0))
        first = (start * cells).astype(np.int64)
        low.append(first)
        high.append(np.clip(((start + share) * cells).astype(np.int64), first + 1, cells))
    return np.stack(low + high, axis=1) + np.array([canvas.x1, canvas.y1] * 2)

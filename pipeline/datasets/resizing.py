"""Resizing by the rule of params.yaml."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.datasets.interpolation import to_size
from pipeline.params.resize import ResizeParams


def resized_size(height: int, width: int, params: ResizeParams) -> tuple[int, int]:
    """(H, W) in pixels after resizing an image of (height, width).

    By rule `shorter_side`: the shorter side becomes `shorter_side`, unless the longer would pass `longer_side`, which
    it then becomes (Fast R-CNN, section 3.1). By rule `fixed`: fixed_height x fixed_width whatever the shape.
    """
    if params.rule == "fixed":
        return params.fixed_height, params.fixed_width
    scale = params.shorter_side / min(height, width)
    if round(scale * max(height, width)) > params.longer_side:
        scale = params.longer_side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def scales_of(params: ResizeParams) -> list[ResizeParams]:
    """The rule of each scale at which training images are seen: `shorter_side`, then `extra_sides`."""
    return [params, *(params.model_copy(update={"shorter_side": side}) for side in params.extra_sides)]


def resize_rgb(pixels: npt.NDArray[np.uint8], params: ResizeParams) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 pixels resized by the rule."""
    return to_size(pixels, resized_size(pixels.shape[0], pixels.shape[1], params))

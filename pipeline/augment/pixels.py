"""The pixels of an augmented view of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pipeline.augment.light import Pixels, lit
from pipeline.datasets.interpolation import to_size

if TYPE_CHECKING:
    from pipeline.augment.draw import Draw
    from pipeline.augment.window import Window

_LONGEST = 16_384  # px; OpenCV warps no image of 32,767 px and more


def view_pixels(pixels: Pixels, draw: Draw, size: tuple[int, int], colour: Sequence[int]) -> Pixels:
    """(H, W, 3) uint8 RGB of a view of (H, W) `size`.

    What lies inside the image is resized as the resize stage does it. Where a canvas is seen around it, the same
    bilinear interpolation is a warp, which makes no canvas.

    Args:
        pixels: the image that is drawn from. colour: RGB, of what lies beyond it.
    """
    window = draw.window
    own = window.of_image
    part = lit(np.ascontiguousarray(pixels[own.y1 : own.y2, own.x1 : own.x2]), draw.light)
    seen = to_size(part, size) if window.is_inside else _warped(part, window, size, colour)
    return cv2.flip(seen, 1).astype(np.uint8, copy=False) if window.flip else seen


def _warped(part: Pixels, window: Window, size: tuple[int, int], colour: Sequence[int]) -> Pixels:
    (height, width), shown, own = size, window.shown, window.of_image
    if not part.size:
        return np.full((height, width, 3), colour, np.uint8)
    whole = part.shape[:2]
    if max(whole) > _LONGEST:
        part = to_size(part, (min(whole[0], _LONGEST), min(whole[1], _LONGEST)))
    # Where the view ends inside the image, the last pixel is repeated as in `cv2.resize`; else the colour begins.
    top, bottom, left, right = (int(own[i] == shown[i]) for i in (1, 3, 0, 2))
    matrix = np.zeros((2, 3))  # from px of the view to those of the part, both of the centres of pixels
    for axis, cells, border in ((0, width, left), (1, height, top)):
        step, shrunk = (shown[axis + 2] - shown[axis]) / cells, part.shape[1 - axis] / whole[1 - axis]
        matrix[axis, axis] = step * shrunk
        matrix[axis, 2] = (0.5 * step + shown[axis] - own[axis]) * shrunk - 0.5 + border
    return cv2.warpAffine(
        cv2.copyMakeBorder(part, top, bottom, left, right, cv2.BORDER_REPLICATE),
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[int(level) for level in colour],
    ).astype(np.uint8, copy=False)

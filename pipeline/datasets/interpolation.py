"""The one interpolation that the project uses."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def to_size(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 pixels resized to (H, W) `size`: bilinear (OpenCV's INTER_LINEAR), rounded to uint8."""
    return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)

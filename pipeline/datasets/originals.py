"""The images of a data set as the dataset stage listed them, decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.datasets.images import read_rgb
from pipeline.runtime.errors import InputError


def read_original(path: Path, width: int, height: int) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of an image that is listed with a size.

    Raises:
        InputError: it cannot be decoded, or has another size.
    """
    pixels = read_rgb(path)
    if pixels.shape[:2] != (height, width):
        raise InputError(
            f"{path}: is {pixels.shape[1]} x {pixels.shape[0]} px, its annotation says "
            f"{width} x {height}; correct the annotation"
        )
    return pixels

"""The one image reader of all stages."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import InputError


def read_rgb(path: Path) -> np.ndarray:
    """Decode an image file to (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    Raises:
        InputError: the file is missing or cannot be decoded.
    """
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); put the image there or drop it from the list"
        ) from error
    pixels = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB) if len(content) else None
    if pixels is None:
        raise InputError(f"{path}: cannot be decoded as an image; replace the file or drop it from the list")
    return pixels

"""The size of an image from its header alone, as the image reader will decode it."""

from __future__ import annotations

import warnings
from pathlib import Path

from PIL import Image

from pipeline.errors import InputError

_ORIENTATION = 0x0112
_TURNED = range(5, 9)  # EXIF orientations that swap width and height


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in px, turned as the EXIF orientation says.

    Raises:
        InputError: the header cannot be read, or tells of an absurd size.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
                turned = image.format in ("JPEG", "PNG", "TIFF", "WEBP") and image.getexif().get(_ORIENTATION)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            f"{path}: its header tells of an absurd size ({error}); replace or shrink the image"
        ) from error
    except Exception as error:  # the library raises whatever a damaged header makes of its parsers
        raise InputError(f"{path}: cannot be decoded as an image; replace the file or drop it from the list") from error
    return (height, width) if turned in _TURNED else (width, height)

"""Pictures as files, for pages and terminals."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# Several pictures share one page, and an orchestrator keeps them in its database.
MAX_BYTES = 150_000

_SMALLER = 0.8
_WEBP_QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """`data` is a file's content, `mime` its type (image/png, image/webp), `caption` one line on what it shows."""

    data: bytes
    mime: str
    caption: str


def encode_png(image: np.ndarray, caption: str, compression: int = 9) -> Picture:
    """(H, W, 3) uint8 RGB as PNG, without loss; for drawings of few colours. `compression`: 0 fast to 9 small."""
    return Picture(_encode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, compression]), "image/png", caption)


def encode_webp(image: np.ndarray, caption: str, most: int | None = None) -> Picture:
    """(H, W, 3) uint8 RGB as WebP, a third of a JPEG's size; of at most `most` bytes, made smaller where it needs to
    be."""
    while True:
        data = _encode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, _WEBP_QUALITY])
        if most is None or len(data) <= most:
            return Picture(data, "image/webp", caption)
        image = cv2.resize(image, None, fx=_SMALLER, fy=_SMALLER, interpolation=cv2.INTER_AREA)


def _encode(suffix: str, image: np.ndarray, flags: list[int]) -> bytes:
    encoded: bytes = cv2.imencode(suffix, image[:, :, ::-1], flags)[1].tobytes()
    return encoded

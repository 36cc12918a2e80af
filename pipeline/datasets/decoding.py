"""From the bytes of an image file of a sound header to its pixels. OpenCV decodes, but for bitmaps with masks; it gets
TIFFs of 2 and 4 bits as bytes.

Shapes: H, W height and width of the image, px, turned upright.
"""

from __future__ import annotations

import io

import cv2
import numpy as np

from pipeline.datasets.bitmaps import decode_by_masks
from pipeline.datasets.decoder_lines import without_decoder_lines
from pipeline.datasets.image_headers import ImageHeader, gif_colours, png_chunks
from pipeline.datasets.packed_tiffs import decode_packed

_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def decode_image(content: bytes, header: ImageHeader) -> np.ndarray | None:
    """(H, W, 3) uint8 RGB, upright; None where it cannot be decoded."""
    if header.format == "bmp":
        by_masks = decode_by_masks(content)
        if by_masks is not None:
            return by_masks
    if header.format == "tiff":
        packed = decode_packed(content, lambda plain: _decoded(plain, cv2.IMREAD_COLOR_RGB))
        if packed is not None:
            return np.ascontiguousarray(_upright(packed, header.exif_orientation))
    flags = cv2.IMREAD_COLOR_RGB
    if header.format != "tiff":  # libtiff turns some modes itself whatever the flag, so there OpenCV does the rest
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    pixels = _decoded(_plain(content, header), flags)
    if pixels is None or (header.format == "tiff" and header.orientation_said_by == "EXIF"):
        return pixels
    return np.ascontiguousarray(_upright(pixels, header.exif_orientation))


def largest_of_16_bits(content: bytes, header: ImageHeader) -> int:
    """The largest value of a colour of an image of 16 bits; 65535 where that cannot be known."""
    try:
        with without_decoder_lines():
            values = cv2.imdecode(np.frombuffer(_plain(content, header), np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):
        return 0xFFFF
    if values is None or values.dtype != np.uint16:
        return 0xFFFF
    return int(values[..., :3].max() if values.ndim == 3 else values.max())


def _decoded(content: bytes | bytearray, flags: int) -> np.ndarray | None:
    try:
        with without_decoder_lines():
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except (cv2.error, MemoryError):
        return None
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        return None
    return pixels


def _plain(content: bytes, header: ImageHeader) -> bytes | bytearray:
    """The file without what leads OpenCV astray and says nothing of its pixels."""
    if header.format == "png":
        return _without_other_chunks(content)
    if header.format == "gif" and content[11] >= gif_colours(content[10]) // 3:
        plain = bytearray(content)
        plain[11] = 0  # the background is a colour that the palette lacks
        return plain
    return content


def _without_other_chunks(content: bytes) -> bytes | bytearray:
    """Of an animated PNG OpenCV would give another picture than the first, or none; of others libpng would complain."""
    file = io.BytesIO(content)
    kept, start, whole = bytearray(content[:8]), 8, True
    for kind, length in png_chunks(file):
        end = start + 12 + length
        if kind in _PNG_PIXELS:
            kept += memoryview(content)[start:end]
        else:
            whole = False
        start = end
    return content if whole else kept


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, 3) pixels turned and mirrored as EXIF's orientation asks; 5 to 8 exchange height and width."""
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    return pixels.swapaxes(0, 1) if orientation >= 5 else pixels

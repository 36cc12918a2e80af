"""TIFFs whose pixels share bytes, of 2 or 4 bits, which OpenCV does not decode: gray, and palettes of 2 bits.

libtiff undoes their compression byte by byte, whatever the bytes mean. So the file is given to it as gray of 8 bits
with as many columns as a row has bytes, and what the bytes hold is taken apart here.

Shapes: H, W height and width of the image as stored, px.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pipeline.datasets.header_fields import tiff_tags
from pipeline.datasets.tiff_headers import is_packed

Pixels = npt.NDArray[np.uint8]


def decode_packed(content: bytes, decode: Callable[[bytes], np.ndarray | None]) -> Pixels | None:
    """(H, W, 3) uint8 RGB of such a TIFF with a sound header, as stored; None of any other, or where it cannot be
    decoded.

    Args:
        decode: from a TIFF of gray of 8 bits to its (H, W, 3) pixels.
    """
    tags = tiff_tags(io.BytesIO(content))
    bits, photometric, width = (int(tags[tag][0]) if tag in tags else 0 for tag in (258, 262, 256))
    if not is_packed(bits, photometric):
        return None
    # Gray, black is 0; the orientation is left to the caller, as columns are none of the image's.
    pixels = decode(_with_tags(content, {256: -(-width * bits // 8), 258: 8, 262: 1, 274: 1}))
    if pixels is None:
        return None
    packed = pixels[..., 0]
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    values = (packed[..., None] >> shifts & ((1 << bits) - 1)).reshape(len(packed), -1)[:, :width]
    if photometric == 3:
        palette = (tags[320][: 3 << bits].reshape(3, -1) >> 8).astype(np.uint8)
        return np.ascontiguousarray(palette.T[values])
    shown = values * np.uint8(255 // ((1 << bits) - 1))
    return np.repeat((255 - shown if photometric == 0 else shown)[..., None], 3, axis=2)


def _with_tags(content: bytes, changes: dict[int, int]) -> bytes:
    """A TIFF or BigTIFF with other values of tags of its first directory, as far as it has them."""
    changed = bytearray(content)
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", content, 2)[0] == 43
    word, counter, inline = ("Q", "Q", 8) if big else ("I", "H", 4)
    at = struct.unpack_from(f"{order}{word}", content, 8 if big else 4)[0]
    count = struct.unpack_from(f"{order}{counter}", content, at)[0]
    at += struct.calcsize(f"{order}{counter}")
    for place in range(at, at + count * (4 + 2 * inline), 4 + 2 * inline):
        tag, kind = struct.unpack_from(f"{order}HH", content, place)
        if tag in changes and kind in _LETTERS:
            struct.pack_into(f"{order}{_LETTERS[kind]}", changed, place + 4 + inline, changes[tag])
    return bytes(changed)


_LETTERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""Of TIFF's unsigned integers."""

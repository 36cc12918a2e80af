"""Windows and OS/2 bitmaps: what their header says, and the pixels of those with 16 or 32 bits.

Masks say where a colour's bits are. OpenCV reads them in some headers only and takes the usual places
elsewhere, so these files are decoded here; all other bitmaps by OpenCV. Pillow refuses masks beside the usual ones,
such as 4444, 10 10 10 2 and 565 of BGR, and masks for alpha in the old header.

Shapes: H, W height and width of the image, px.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.datasets.header_fields import HeaderError, take

_RGB, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6  # compressions
_USUAL_MASKS = {16: (0x7C00, 0x3E0, 0x1F), 32: (0xFF0000, 0xFF00, 0xFF)}
_BITS = {_RGB: (1, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,), _BITFIELDS: (16, 32), _ALPHA_BITFIELDS: (16, 32)}
_PIXELS_AT_ONCE = 1 << 20


class Bitmap(NamedTuple):
    """A bitmap as its header describes it.

    Attributes:
        width, height: px. bits: of a pixel. top_down: whether the first row is the uppermost.
        offset: of the pixels in the file. size: their bytes, 0 where not given.
        masks: where red, green and blue stand in a pixel of 16 or 32 bits; 0: the colour is missing.
        alpha: whether one of its masks is for alpha.
    """

    width: int
    height: int
    bits: int
    top_down: bool
    offset: int
    size: int
    masks: tuple[int, int, int] | None
    alpha: bool


def read_bitmap(file: BinaryIO) -> Bitmap:
    """The header of a bitmap.

    Raises:
        HeaderCutOffError: the file ends inside the header.
        HeaderError: it is of a kind that is not read.
    """
    file.seek(10)
    offset, header = struct.unpack("<II", take(file, 8))
    if header == 12:
        width, height, planes, bits = struct.unpack("<HHHH", take(file, 8))
        compression, count, colours, ends = _RGB, 0, 0, 26
        if bits not in (1, 4, 8, 24):
            raise HeaderError(f"its header says {bits} bits per pixel, which a bitmap of OS/2 does not have")
    elif header in (40, 52, 56, 64, 108, 124):
        width, height, planes, bits, compression, count = struct.unpack("<iiHHII", take(file, 20))
        colours = struct.unpack("<8xI4x", take(file, 16))[0]
        ends = 14 + header
    else:
        raise HeaderError(f"its header is {header} bytes long, which BMP does not have")
    masks, alpha = None, False
    # Compression 3 of a bitmap of OS/2 is a fax.
    known = _BITS.get(compression, ()) if (header, compression) != (64, _BITFIELDS) else ()
    if planes != 1 or width < 1 or bits not in known:
        raise HeaderError(
            f"its header says {width} px of {bits} bits with compression {compression}, which is not read"
        )
    if compression in (_BITFIELDS, _ALPHA_BITFIELDS):
        number = 4 if header >= 56 or compression == _ALPHA_BITFIELDS else 3
        written = struct.unpack(f"<{number}I", take(file, 4 * number))
        ends = max(ends, 54 + 4 * number)
        masks, alpha = _checked(written[:3], bits), number == 4 and written[3] != 0
    elif bits in _USUAL_MASKS:
        masks = _USUAL_MASKS[bits]
    if bits <= 8 and colours > 1 << bits:
        raise HeaderError(f"its palette has {colours} colours, more than {bits} bits can tell apart")
    if offset < ends:
        raise HeaderError("its pixels begin inside its header")
    if compression not in (_RLE8, _RLE4):  # else run lengths, whose bytes only `count` tells
        count = (width * bits + 31) // 32 * 4 * abs(height)
    return Bitmap(width, abs(height), bits, height < 0, offset, count, masks, alpha)


def decode_by_masks(content: bytes) -> npt.NDArray[np.uint8] | None:
    """(H, W, 3) RGB of a bitmap of 16 or 32 bits a pixel that is all there; None for any other bitmap."""
    own = read_bitmap(io.BytesIO(content))
    if own.masks is None:
        return None
    size = own.bits // 8
    stride = (own.width * own.bits + 31) // 32 * 4
    rows = np.frombuffer(content, np.uint8, own.height * stride, own.offset).reshape(own.height, stride)
    words = rows[:, : own.width * size].view(f"<u{size}")
    pixels = np.zeros((own.height, own.width, 3), np.uint8)
    target = pixels if own.top_down else pixels[::-1]
    step = max(1, _PIXELS_AT_ONCE // own.width)
    for start in range(0, own.height, step):
        some = slice(start, start + step)
        for channel, mask in enumerate(own.masks):
            if mask:
                target[some, :, channel] = _scaled(words[some], mask)
    return pixels


def _scaled(words: np.ndarray, mask: int) -> np.ndarray:
    """What stands under a mask, 0..255; of more than 16 bits the upper 16 count."""
    shift = (mask & -mask).bit_length() - 1
    shift += max(0, (mask >> shift).bit_length() - 16)
    most = mask >> shift
    values = (words.astype(np.uint32) & np.uint32(mask)) >> np.uint32(shift)
    return values if most == 255 else (values * np.uint32(255) + np.uint32(most // 2)) // np.uint32(most)


def _checked(masks: tuple[int, ...], bits: int) -> tuple[int, int, int]:
    red, green, blue = masks
    in_one_piece = all(mask == 0 or (mask // (mask & -mask) + 1).bit_count() == 1 for mask in masks)
    apart = not (red & green or green & blue or blue & red)
    if not any(masks) or not in_one_piece or not apart or max(masks) >> bits:
        raise HeaderError(f"its masks {red:#x}, {green:#x} and {blue:#x} are no places of colours in {bits} bits")
    return red, green, blue

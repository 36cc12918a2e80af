"""Fields of an image file's header: so many bytes, or the tags of a TIFF directory, which EXIF blocks have too.

Every number in a header is a stranger's, so that what is read is bounded before it is read. Pillow's directories read
the values of all tags, colour profiles and maker notes among them, give those of one as a tuple of Python's integers
however many there are, and end early with a warning where the file does.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Mapping
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

Mode = Literal["rgb", "gray", "palette", "alpha", "cmyk", "16bit"]


class Orientation(NamedTuple):
    """How an image is to be turned, 1..8 as in EXIF, and what says so; 1 where nothing does: as stored."""

    value: int = 1
    said_by: Literal["EXIF", "XMP"] = "EXIF"


Parsed = tuple[int, int, Orientation, Mode]
"""Width, height, orientation, mode; the size as stored, px."""

_MAX_VALUES = 1 << 20  # values of one TIFF tag, such as the offsets of its strips
_TIFF_TYPES = {1: "u1", 3: "u2", 4: "u4", 16: "u8"}  # the unsigned integers among TIFF's field types
# size, bits, compression, photometric, strips, orientation, channels, planes, predictor, palette, tiles, sign
_TIFF_TAGS = frozenset({256, 257, 258, 259, 262, 273, 274, 277, 279, 284, 317, 320, 322, 323, 324, 325, 339})
XMP_TAG = 700
_FARTHEST = 1 << 40  # bytes; further not every file system can seek
MAX_XMP = 1 << 22  # bytes; Pillow reads 1 MiB of a PNG's
_EXIF_PREFIX = re.compile(rb"\A(?:Exif\0\0){1,2}")
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


class HeaderError(Exception):
    """The bytes are no header of an image that this project reads; the message says why."""


class HeaderCutOffError(HeaderError):
    """The file ends inside its header."""


def take(file: BinaryIO, count: int) -> bytes:
    """The next `count` bytes.

    Raises:
        HeaderCutOffError: there are fewer.
    """
    data = file.read(count)
    if len(data) < count:
        raise HeaderCutOffError("it ends inside its header")
    return data


def tiff_tags(file: BinaryIO) -> dict[int, np.ndarray]:
    """The tags of the first directory of a TIFF or BigTIFF that hold unsigned integers, each (N,) with N >= 1. XMP
    (700) says nothing of the pixels, and is as much of it as there is.

    Raises:
        HeaderCutOffError: the file ends before the directory or before the values of a tag.
        HeaderError: it is not a TIFF, or a tag has absurdly many values.
    """
    file.seek(0)
    order = {b"II": "<", b"MM": ">"}.get(take(file, 2))
    if order is None:
        raise HeaderError("it has no byte order")
    magic = struct.unpack(f"{order}H", take(file, 2))[0]
    if magic == 43:  # BigTIFF: eight bytes where TIFF has four
        file.seek(8)
    elif magic != 42:
        raise HeaderError("it is not a TIFF")
    word, counter, inline = ("Q", "Q", 8) if magic == 43 else ("I", "H", 4)
    position = struct.unpack(f"{order}{word}", take(file, inline))[0]
    _seek(file, position)
    count = struct.unpack(f"{order}{counter}", take(file, struct.calcsize(f"{order}{counter}")))[0]
    if count > 0xFFFF:
        raise HeaderError(f"its directory has {count} entries")
    size = 4 + 2 * inline
    entries = take(file, count * size)
    tags: dict[int, np.ndarray] = {}
    for at in range(0, len(entries), size):
        tag, kind, number = struct.unpack_from(f"{order}HH{word}", entries, at)
        if tag == XMP_TAG and kind in (1, 7) and number > inline:
            place = struct.unpack_from(f"{order}{word}", entries, at + size - inline)[0]
            if place < _FARTHEST:
                file.seek(place)
                tags[tag] = np.frombuffer(file.read(min(number, MAX_XMP)), np.uint8)
            continue
        if kind not in _TIFF_TYPES or number == 0 or tag in tags or tag not in _TIFF_TAGS:
            continue
        if number > _MAX_VALUES:
            raise HeaderError(f"its tag {tag} has {number} values")
        dtype = np.dtype(f"{order}{_TIFF_TYPES[kind]}")
        data = entries[at + size - inline : at + size]
        if number * dtype.itemsize > inline:
            _seek(file, struct.unpack(f"{order}{word}", data)[0])
            data = take(file, number * dtype.itemsize)
        tags[tag] = np.frombuffer(data, dtype, number)
    return tags


def _seek(file: BinaryIO, position: int) -> None:
    if position >= _FARTHEST:
        raise HeaderCutOffError("it ends inside its header")
    file.seek(position)


def orientation_of(exif: bytes | None, xmp: bytes | None = None) -> Orientation:
    """The orientation that an EXIF block gives, or where it gives none XMP's, as Pillow has it; a broken block is not
    worth an image.

    Args:
        exif: with or without `Exif\\0\\0` before it. xmp: the text.
    """
    try:
        tags = tiff_tags(io.BytesIO(_EXIF_PREFIX.sub(b"", exif))) if exif else {}
    except HeaderError:
        tags = {}
    return orientation_by_tags(tags, xmp)


def orientation_by_tags(tags: Mapping[int, np.ndarray], xmp: bytes | None) -> Orientation:
    """The same of the tags of a TIFF directory."""
    if 274 in tags:
        value = int(tags[274][0])
        return Orientation(value if 1 <= value <= 8 else 1)
    found = _XMP_ORIENTATION.search(xmp) if xmp else None
    value = int(found[1]) if found else 1
    return Orientation(value, "XMP") if 2 <= value <= 8 else Orientation()

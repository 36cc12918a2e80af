"""What the first bytes of an image file say: format, size, orientation, mode. No pixel is decoded.

Loops only move forward through the file, and a header that makes no sense raises `HeaderError`. Only the fields that
the project needs are read; whether the pixels behind them are sound is for the decoder to find.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pipeline.datasets.header_fields import HeaderCutOffError, HeaderError, exif_orientation, take, tiff_tags

Format = Literal["jpeg", "png", "bmp", "webp", "tiff", "gif"]
Mode = Literal["rgb", "gray", "palette", "alpha", "cmyk", "16bit"]

_MAX_EXIF = 1 << 20  # bytes; a JPEG holds at most 64 KiB of it
_MAX_GARBAGE = 1 << 16  # bytes that decoders skip between two segments of a JPEG


@dataclass(frozen=True)
class ImageHeader:
    """One image as its file describes it. `width` and `height` are those of the image turned upright."""

    format: Format
    width: int  # px, after EXIF orientation
    height: int
    exif_orientation: int  # 1..8 as in EXIF, 1 where there is none: as stored
    mode: Mode  # "16bit" whatever its channels; "alpha" with gray or with RGB; BMP and GIF of few colours are "palette"


def read_header(file: BinaryIO) -> ImageHeader:
    """The header of the image in `file`, which is read from its start and left anywhere.

    Raises:
        HeaderCutOffError: the file ends inside the header.
        HeaderError: the format is none of JPEG, PNG, BMP, WebP, TIFF and GIF, or the header contradicts it.
    """
    file.seek(0)
    start = file.read(12)
    for form, magic, parse in _FORMATS:
        if start.startswith(magic) and (form != "webp" or start[8:12] in (b"WEBP", b"")):
            width, height, orientation, mode = parse(file)
            break
    else:
        if not start:
            raise HeaderCutOffError("it is empty")
        raise HeaderError("it is no JPEG, PNG, BMP, WebP, TIFF or GIF")
    if width < 1 or height < 1:
        raise HeaderError(f"its header says {width} x {height} px")
    if orientation >= 5:
        width, height = height, width
    return ImageHeader(form, width, height, orientation, mode)


_Parsed = tuple[int, int, int, Mode]  # width, height, orientation, mode; the size as stored


def jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """(marker, length of its content) up to the start of scan, with `file` at the content.

    The file may be moved between two segments. Markers without content have length 0.
    """
    position = 2
    while True:
        file.seek(position)
        garbage = 0
        while (byte := take(file, 1)) != b"\xff":
            garbage += 1
            if garbage > _MAX_GARBAGE:
                raise HeaderError("it has no JPEG marker where one belongs")
        while (byte := take(file, 1)) == b"\xff":
            pass
        marker = byte[0]
        length = 0
        if marker not in (0x00, 0x01, *range(0xD0, 0xDA)):
            length = struct.unpack(">H", take(file, 2))[0] - 2
            if length < 0:
                raise HeaderError(f"its segment {marker:#04x} has an impossible length")
        position = file.tell() + length
        yield marker, length
        if marker == 0xDA:
            return


def _parse_jpeg(file: BinaryIO) -> _Parsed:
    frame: tuple[int, int, int, int] | None = None
    exif: bytes | None = None
    for marker, length in jpeg_segments(file):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if frame is not None:
                raise HeaderError("it has two frame headers")
            frame = struct.unpack(">BHHB", take(file, 6))
        elif marker == 0xD9:
            raise HeaderError("it ends before its first scan")
        elif marker == 0xE1 and exif is None and (content := take(file, length)).startswith(b"Exif\0"):
            exif = content[6:]
    if frame is None:
        raise HeaderError("it has no frame header")
    precision, height, width, channels = frame
    if precision != 8 or channels not in (1, 3, 4):
        raise HeaderError(f"it has {channels} channels of {precision} bits, which no JPEG decoder here reads")
    modes: dict[int, Mode] = {1: "gray", 3: "rgb", 4: "cmyk"}
    return width, height, exif_orientation(exif), modes[channels]


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(type, length of its content) of all chunks to IEND, with `file` at the content.

    The file may be moved between two chunks.
    """
    position = 8
    while True:
        file.seek(position)
        length, kind = struct.unpack(">I4s", take(file, 8))
        position += 12 + length
        yield kind, length
        if kind == b"IEND":
            return


def _parse_png(file: BinaryIO) -> _Parsed:
    size, orientation = None, 1
    try:
        for kind, length in png_chunks(file):
            if (size is None) != (kind == b"IHDR"):
                raise HeaderError("it does not begin with its one IHDR")
            if size is None:
                size = struct.unpack(">IIBB", take(file, 10))
            elif kind == b"eXIf" and length <= _MAX_EXIF:
                orientation = exif_orientation(take(file, length))
    except HeaderCutOffError:
        if size is None:
            raise
    assert size is not None  # png_chunks yields or raises
    width, height, bits, colour = size
    modes: dict[int, Mode] = {0: "gray", 2: "rgb", 3: "palette", 4: "alpha", 6: "alpha"}
    if colour not in modes or bits not in (1, 2, 4, 8, 16):
        raise HeaderError(f"its header says colour type {colour} of {bits} bits, which PNG does not have")
    return width, height, orientation, "16bit" if bits == 16 else modes[colour]


def _parse_bmp(file: BinaryIO) -> _Parsed:
    width, height, bits, _, _, alpha = bmp_fields(file)
    return width, height, 1, "palette" if bits <= 8 else "alpha" if alpha else "rgb"


def bmp_fields(file: BinaryIO) -> tuple[int, int, int, int, int, bool]:
    """Width, height, bits a pixel, offset of the pixels, their bytes (0 where not told), whether there is alpha."""
    file.seek(10)
    offset, header = struct.unpack("<II", take(file, 8))
    if header == 12:
        width, height, planes, bits = struct.unpack("<HHHH", take(file, 8))
        return width, height, bits, offset, (width * bits + 31) // 32 * 4 * height, False
    if header not in (40, 52, 56, 64, 108, 124):
        raise HeaderError(f"its header is {header} bytes long, which BMP does not have")
    width, height, planes, bits, compression, count = struct.unpack("<iiHHII", take(file, 20))
    height = abs(height)  # negative where the rows stand from the top
    if planes != 1 or bits not in (1, 4, 8, 16, 24, 32) or compression not in (0, 1, 2, 3, 6) or width < 1:
        raise HeaderError(f"its header says {width} px of {bits} bits with compression {compression}")
    if compression not in (1, 2):  # else run lengths, whose bytes only `count` tells
        count = (width * bits + 31) // 32 * 4 * height
    alpha = bits == 32 and header >= 56 and take(file, 32)[28:] != bytes(4)
    return width, height, bits, offset, count, alpha


def _parse_gif(file: BinaryIO) -> _Parsed:
    file.seek(6)
    width, height = struct.unpack("<HH", take(file, 4))
    return width, height, 1, "palette"


def _parse_webp(file: BinaryIO) -> _Parsed:
    file.seek(12)
    kind, data = take(file, 4), take(file, 14)[4:]
    if kind == b"VP8 ":
        if data[3:6] != b"\x9d\x01\x2a":
            raise HeaderError("its VP8 frame has no start code")
        width, height = struct.unpack("<HH", data[6:10])
        return width & 0x3FFF, height & 0x3FFF, 1, "rgb"
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        if data[0] != 0x2F or bits >> 29:
            raise HeaderError("its VP8L frame has no signature")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 1, "alpha" if bits >> 28 & 1 else "rgb"
    if kind != b"VP8X":
        raise HeaderError(f"it begins with a chunk {kind!r}, which WebP does not have")
    width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (4, 7))
    orientation = _webp_orientation(file) if data[0] & 0x08 else 1
    return width, height, orientation, "alpha" if data[0] & 0x10 else "rgb"


def _webp_orientation(file: BinaryIO) -> int:
    position = 12
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return 1
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"EXIF":
            return exif_orientation(file.read(min(length, _MAX_EXIF)).removeprefix(b"Exif\0\0"))
        position += 8 + length + length % 2


def _parse_tiff(file: BinaryIO) -> _Parsed:
    tags = tiff_tags(file)

    def first(tag: int, default: int) -> int:
        return int(tags[tag][0]) if tag in tags else default

    width, height = first(256, 0), first(257, 0)
    bits, channels, photometric = first(258, 1), first(277, 1), first(262, -1)
    if bits not in (1, 2, 4, 8, 16) or first(339, 1) != 1 or channels > 5:
        raise HeaderError(f"it has {channels} channels of {bits} bits; at most 5 of unsigned 1 to 16 bits can be read")
    if first(322, 1) * first(323, 1) > max(width * height, 1 << 24):
        raise HeaderError("its tiles are much larger than the image")
    modes: dict[int, Mode] = {0: "gray", 1: "gray", 2: "rgb", 3: "palette", 5: "cmyk", 6: "rgb"}
    if photometric not in modes:
        raise HeaderError(f"it has photometric interpretation {photometric}, which cannot be read")
    alpha = channels == (2 if modes[photometric] == "gray" else 4) and photometric in (0, 1, 2)
    mode: Mode = "16bit" if bits == 16 else "alpha" if alpha else modes[photometric]
    orientation = first(274, 1)
    return width, height, orientation if 1 <= orientation <= 8 else 1, mode


_FORMATS: tuple[tuple[Format, bytes, Callable[[BinaryIO], _Parsed]], ...] = (
    ("jpeg", b"\xff\xd8\xff", _parse_jpeg),
    ("png", b"\x89PNG\r\n\x1a\n", _parse_png),
    ("bmp", b"BM", _parse_bmp),
    ("webp", b"RIFF", _parse_webp),
    ("tiff", b"II*\0", _parse_tiff),
    ("tiff", b"MM\0*", _parse_tiff),
    ("tiff", b"II+\0", _parse_tiff),
    ("tiff", b"MM\0+", _parse_tiff),
    ("gif", b"GIF87a", _parse_gif),
    ("gif", b"GIF89a", _parse_gif),
)

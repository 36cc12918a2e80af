"""What the first bytes of an image file say: format, size, orientation, mode. No pixel is decoded.

Loops only move forward through the file, and a header that makes no sense raises `HeaderError`. Only the fields that
the project needs are read; whether the pixels behind them are sound is for the decoder to find.

Pillow reads headers as well, in the same time, but keeps fewer promises (13.0, held by
tests/datasets/test_image_headers.py and test_image_kinds.py):

- JPEG and PNG: what says nothing of the pixels, when broken, costs the image: JFIF's version, an ICC profile, a text's
  checksum. The orientation of a PNG that stands behind the pixels is found by decoding only. Frames, samplings and
  methods that no decoder here reads are accepted.
- WebP: the whole file is read and a decoder made for it, and sizes that are read here are refused as bombs.
- GIF: first pictures that stick out, or without a palette, are accepted.
- BMP and TIFF: see `pipeline.datasets.bitmaps` and `pipeline.datasets.tiff_headers`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from pipeline.datasets.bitmaps import read_bitmap
from pipeline.datasets.header_fields import (
    MAX_XMP,
    HeaderCutOffError,
    HeaderError,
    Mode,
    Orientation,
    Parsed,
    orientation_of,
    take,
)
from pipeline.datasets.png_notes import PngNotes
from pipeline.datasets.tiff_headers import parse_tiff

Format = Literal["jpeg", "png", "bmp", "webp", "tiff", "gif"]

_PNG_MODES: dict[int, Mode] = {0: "gray", 2: "rgb", 3: "palette", 4: "alpha", 6: "alpha"}  # by colour type
_PNG_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_MAX_EXIF = 1 << 20  # bytes; a JPEG holds at most 64 KiB of it
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_DECODED_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC9, 0xCA})  # sequential and progressive, Huffman or arithmetic codes
_MAX_GARBAGE = 1 << 16  # bytes that decoders skip between two segments of a JPEG


@dataclass(frozen=True)
class ImageHeader:
    """One image as its file describes it. `width` and `height` are those of the image turned upright."""

    format: Format
    width: int  # px, after EXIF orientation
    height: int
    exif_orientation: int  # 1..8 as in EXIF, 1 where there is none: as stored
    mode: Mode  # "16bit" whatever its channels; "alpha" with gray or with RGB; BMP and GIF of few colours are "palette"
    orientation_said_by: Literal["EXIF", "XMP"] = "EXIF"  # XMP counts where EXIF says nothing of it


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
            width, height, (orientation, said_by), mode = parse(file)
            break
    else:
        if not start:
            raise HeaderCutOffError("it is empty")
        raise HeaderError("it is not a JPEG, PNG, BMP, WebP, TIFF or GIF")
    if width < 1 or height < 1:
        raise HeaderError(f"its header says {width} x {height} px")
    if orientation >= 5:
        width, height = height, width
    return ImageHeader(form, width, height, orientation, mode, said_by)


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


def _parse_jpeg(file: BinaryIO) -> Parsed:
    frame: tuple[int, int, int, int] | None = None
    factors = b""
    exif: bytes | None = None
    xmp: bytes | None = None
    for marker, length in jpeg_segments(file):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if frame is not None:
                raise HeaderError("it has two frame headers")
            if marker not in _DECODED_FRAMES:
                raise HeaderError(f"it is of a kind of JPEG (frame {marker:#x}) that no decoder here reads")
            frame = struct.unpack(">BHHB", take(file, 6))
            factors = take(file, 3 * frame[3])[1::3]
        elif marker == 0xD9:
            raise HeaderError("it ends before its first scan")
        elif marker == 0xE1:
            content = take(file, length)
            if exif is None and content.startswith(b"Exif\0"):
                exif = content[6:]
            elif content.startswith(_XMP_IN_JPEG):
                xmp = content[len(_XMP_IN_JPEG) :]
    if frame is None:
        raise HeaderError("it has no frame header")
    precision, height, width, channels = frame
    if precision != 8 or channels not in (1, 3, 4):
        raise HeaderError(f"it has {channels} channels of {precision} bits, which no JPEG decoder here reads")
    for sampling in ([factor >> 4 for factor in factors], [factor & 15 for factor in factors]):
        if not all(1 <= own <= 4 and max(sampling) % own == 0 for own in sampling):
            raise HeaderError("the samples of its channels do not fit together")
    modes: dict[int, Mode] = {1: "gray", 3: "rgb", 4: "cmyk"}
    return width, height, orientation_of(exif, xmp), modes[channels]


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


def _parse_png(file: BinaryIO) -> Parsed:
    ihdr: tuple[int, int, int, int, int, int, int] | None = None
    found, notes = set(), PngNotes()
    try:
        for kind, length in png_chunks(file):
            if (ihdr is None) != (kind == b"IHDR"):
                raise HeaderError("it does not begin with its one IHDR")
            if ihdr is None:
                ihdr = struct.unpack(">IIBBBBB", take(file, 13))
            else:
                notes.read(kind, length, file)
            found.add(kind)
    except HeaderCutOffError:
        if ihdr is None:
            raise
    else:
        if b"IDAT" not in found:
            raise HeaderError("it has no pixels (IDAT)")
    assert ihdr is not None  # png_chunks yields or raises
    width, height, bits, colour, *methods, interlace = ihdr
    if bits not in _PNG_BITS.get(colour, ()):
        raise HeaderError(f"its header says colour type {colour} of {bits} bits, which PNG does not have")
    if any(methods) or interlace > 1:
        raise HeaderError("its header says methods that PNG does not have")
    if colour == 3 and b"IDAT" in found and b"PLTE" not in found:
        raise HeaderError("it has no palette (PLTE)")
    return width, height, notes.orientation(), "16bit" if bits == 16 else _PNG_MODES[colour]


def _parse_bmp(file: BinaryIO) -> Parsed:
    own = read_bitmap(file)
    return own.width, own.height, Orientation(), "alpha" if own.alpha else "palette" if own.bits <= 8 else "rgb"


def gif_blocks(file: BinaryIO) -> Iterator[int]:
    """The introducers of a GIF's blocks, with `file` behind each, up to its trailer or what no decoder reads on from.

    The file may be moved between two blocks.
    """
    file.seek(10)
    position = 13 + gif_colours(take(file, 1)[0])
    while True:
        file.seek(position)
        kind = take(file, 1)[0]
        yield kind
        if kind == 0x21:
            position += 2
        elif kind == 0x2C:
            file.seek(position + 9)
            position += 11 + gif_colours(take(file, 1)[0])
        else:
            return
        while True:  # sub-blocks of at most 255 bytes
            file.seek(position)
            length = take(file, 1)[0]
            position += 1 + length
            if length == 0:
                break


def gif_colours(flags: int) -> int:
    """Bytes of the palette that a GIF's packed flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _parse_gif(file: BinaryIO) -> Parsed:
    file.seek(6)
    width, height, flags = struct.unpack("<HHB", take(file, 5))
    try:
        if not any(kind == 0x2C for kind in gif_blocks(file)):
            raise HeaderError("it has no picture")
        left, top, own_width, own_height, own_flags = struct.unpack("<HHHHB", take(file, 9))
        file.seek(gif_colours(own_flags), 1)
        code_size = take(file, 1)[0]
    except HeaderCutOffError:  # reported as what is missing
        return width, height, Orientation(), "palette"
    if left + own_width > width or top + own_height > height:
        raise HeaderError(f"its first picture sticks out of its {width} x {height} px")
    if not (flags | own_flags) & 0x80:
        raise HeaderError("it has no palette")
    if not 2 <= code_size <= 8:
        raise HeaderError(f"its codes begin with {code_size} bits; 2 to 8 can be read")
    return width, height, Orientation(), "palette"


def _parse_webp(file: BinaryIO) -> Parsed:
    file.seek(12)
    kind, data = take(file, 4), take(file, 14)[4:]
    if kind == b"VP8 ":
        if data[3:6] != b"\x9d\x01\x2a":
            raise HeaderError("its VP8 frame has no start code")
        width, height = struct.unpack("<HH", data[6:10])
        return width & 0x3FFF, height & 0x3FFF, Orientation(), "rgb"
    if kind == b"VP8L":
        bits = int.from_bytes(data[1:5], "little")
        if data[0] != 0x2F or bits >> 29:
            raise HeaderError("its VP8L frame has no signature")
        mode: Mode = "alpha" if bits >> 28 & 1 else "rgb"
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, Orientation(), mode
    if kind != b"VP8X":
        raise HeaderError(f"it begins with a chunk {kind!r}, which WebP does not have")
    width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (4, 7))
    if not any(name in (b"VP8 ", b"VP8L", b"ANMF") for name, _ in _webp_chunks(file)):
        raise HeaderError("it has no picture")
    return width, height, _webp_orientation(file, data[0]), "alpha" if data[0] & 0x10 else "rgb"


def _webp_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """(name, length of its content) of all chunks, with `file` at the content, until the file ends.

    Raises:
        HeaderCutOffError: it ends before it says that it does.
    """
    file.seek(4)
    end = 8 + int.from_bytes(take(file, 4), "little")
    position = 12
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            if position < end - 1:  # a padding byte may be missing
                raise HeaderCutOffError("it ends before its last part")
            return
        length = int.from_bytes(head[4:], "little")
        yield head[:4], length
        position += 8 + length + length % 2


def _webp_orientation(file: BinaryIO, flags: int) -> Orientation:
    wanted = {name for name, flag in ((b"EXIF", 0x08), (b"XMP ", 0x04)) if flags & flag}
    notes: dict[bytes, bytes] = {}
    if wanted:
        for name, length in _webp_chunks(file):
            if name in wanted and name not in notes:
                notes[name] = file.read(min(length, _MAX_EXIF if name == b"EXIF" else MAX_XMP))
    return orientation_of(notes.get(b"EXIF"), notes.get(b"XMP "))


_FORMATS: tuple[tuple[Format, bytes, Callable[[BinaryIO], Parsed]], ...] = (
    ("jpeg", b"\xff\xd8\xff", _parse_jpeg),
    ("png", b"\x89PNG\r\n\x1a\n", _parse_png),
    ("bmp", b"BM", _parse_bmp),
    ("webp", b"RIFF", _parse_webp),
    ("tiff", b"II*\0", parse_tiff),
    ("tiff", b"MM\0*", parse_tiff),
    ("tiff", b"II+\0", parse_tiff),
    ("tiff", b"MM\0+", parse_tiff),
    ("gif", b"GIF87a", _parse_gif),
    ("gif", b"GIF89a", _parse_gif),
)

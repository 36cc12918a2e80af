"""The one image reader of all stages.

The header is read first, so that nothing is decoded that is cut off, too large or of a kind that is not read: a kind
that is accepted decodes, unless the file is damaged inside. What becomes of the modes:

- gray is repeated in all channels, a palette is looked up;
- alpha is dropped: the colours are those of the file, also where nothing of them would be seen. TIFF alone has them
  blended with black, which libtiff does; the transparent pixels of a GIF get its background colour;
- of 16 bits the upper 8 are kept, within 1, as PNG defines it; Pillow cuts gray of 16 bits off at 255;
- colours of a bitmap of 16 or 32 bits stand where its masks say;
- CMYK becomes RGB by (1 - C)(1 - K) and so on, without colour profiles. A JPEG's is inverted in the file, as Adobe
  began and all writers do;
- of an animation the first picture is taken, of a TIFF of several pages the first page.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.datasets.decoding import decode_image, largest_of_16_bits
from pipeline.datasets.header_fields import HeaderCutOffError, HeaderError
from pipeline.datasets.image_ends import what_is_missing
from pipeline.datasets.image_headers import ImageHeader, read_header
from pipeline.runtime.errors import InputError

MAX_PIXELS = 2**28  # 16384 x 16384; 0.8 GB decoded
_LONGEST_SIDE = {"jpeg": 65_500}  # px; libjpeg's limit
_LEAST_OF_16_BITS = 1 << 13  # an image of no larger value has 32 of 256 grays, and is dark
_LONGEST_OTHER_SIDE = 1_000_000  # libpng's limit, and about OpenCV's

ProblemKind = Literal["undecodable", "truncated", "exif_orientation", "mode", "too_large"]


class ImageProblem(NamedTuple):
    """What is not plain about an image file; `exif_orientation` and `mode` do not keep `read_rgb` from reading it."""

    kind: ProblemKind
    detail: str


def probe(path: Path) -> ImageHeader:
    """What the header of an image file says; no pixel is decoded, and little more than the header read.

    Raises:
        InputError: the file is missing, no image, or ends inside its header.
    """
    with _opened(path) as file:
        return _header_of(path, file)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in px of an image as `read_rgb` decodes it, from its header.

    Raises:
        InputError: as `probe`.
    """
    header = probe(path)
    return header.width, header.height


def read_rgb(path: Path, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """Decode an image file to (H, W, 3) uint8 RGB, turned as its EXIF says, or its XMP where EXIF says nothing.

    Args:
        path: a JPEG, PNG, BMP, WebP, TIFF or GIF.
        max_pixels: a header that tells more is refused before anything is decoded.

    Raises:
        InputError: the file is missing, cut off, larger than `max_pixels` or cannot be decoded.
    """
    with _opened(path) as file:
        header = _header_of(path, file)
        too_large = _too_large(header, max_pixels)
        if too_large:
            raise InputError(f"{path}: {too_large}; scale it down or drop it from the list")
        missing = what_is_missing(file, header.format)
        if missing:
            raise InputError(f"{path}: is cut off, {missing}; fetch it again or drop it from the list")
        file.seek(0)
        content = file.read()
    pixels = decode_image(content, header)
    if pixels is None:
        raise InputError(f"{path}: cannot be decoded as an image; replace the file or drop it from the list")
    if pixels.shape[:2] != (header.height, header.width):
        raise InputError(
            f"{path}: decodes to {pixels.shape[1]} x {pixels.shape[0]} px, but its header says "
            f"{header.width} x {header.height}; replace the file or drop it from the list"
        )
    return pixels


def problems_of(path: Path, max_pixels: int = MAX_PIXELS, deep: bool = False) -> list[ImageProblem]:
    """What a person should know about an image file before it is trained on; empty for a plain, sound one.

    `undecodable`, `truncated` and `too_large` are those that `read_rgb` refuses. `exif_orientation` and `mode` tell of
    what it undoes; boxes may have been drawn on the image as stored. Looks at the header and for the end of the file;
    with `deep`, decodes the image too, which alone finds damage inside; not all of it, as a JPEG has no checksums.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    with _opened(path) as file:
        try:
            header = read_header(file)
            missing = what_is_missing(file, header.format)
        except HeaderCutOffError as error:
            return [ImageProblem("truncated", str(error))]
        except HeaderError as error:
            return [ImageProblem("undecodable", str(error))]
    problems = []
    if missing:
        problems.append(ImageProblem("truncated", missing))
    too_large = _too_large(header, max_pixels)
    if too_large:
        problems.append(ImageProblem("too_large", too_large))
    if deep and not problems:
        try:
            read_rgb(path, max_pixels)
        except InputError as error:
            problems.append(ImageProblem("undecodable", str(error).removeprefix(f"{path}: ").partition(";")[0]))
    if header.exif_orientation != 1:
        detail = f"{header.orientation_said_by} orientation {header.exif_orientation}"
        problems.append(ImageProblem("exif_orientation", detail))
    if header.mode != "rgb":
        dark = "" if missing or too_large or header.mode != "16bit" else _how_dark(path, header)
        problems.append(ImageProblem("mode", header.mode + dark))
    return problems


def _how_dark(path: Path, header: ImageHeader) -> str:
    """A note on 16-bit images that leave the upper bits unused, as cameras of 10 and 12 bits write them."""
    with _opened(path) as file:
        largest = largest_of_16_bits(file.read(), header)
    if largest >= _LEAST_OF_16_BITS:
        return ""
    return f", no value above {largest} of 65535, so that it is almost black as RGB; scale the values up"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        if not path.is_file():  # to open a pipe would wait for its writer
            raise InputError(f"{path}: no such file; put the image there or drop it from the list")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); put the image there or drop it from the list"
        ) from error


def _header_of(path: Path, file: BinaryIO) -> ImageHeader:
    try:
        return read_header(file)
    except HeaderCutOffError as error:
        raise InputError(f"{path}: is cut off, {error}; fetch it again or drop it from the list") from error
    except HeaderError as error:
        raise InputError(
            f"{path}: cannot be decoded as an image, {error}; replace the file or drop it from the list"
        ) from error


def _too_large(header: ImageHeader, max_pixels: int) -> str:
    """Why an image is too large to be read, "" where it is not."""
    longest = _LONGEST_SIDE.get(header.format, _LONGEST_OTHER_SIDE)
    if header.width * header.height > max_pixels:
        return f"{header.width} x {header.height} px are more than the {max_pixels} pixels that are read"
    if max(header.width, header.height) > longest:
        return f"{header.width} x {header.height} px have a side of more than the {longest} px that are read"
    return ""

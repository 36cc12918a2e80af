"""What reading a header costs, and what does not put it off: promises that Pillow's readers do not keep."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.image_ends import what_is_missing
from pipeline.datasets.image_headers import read_header
from pipeline.datasets.images import MAX_PIXELS, problems_of, read_rgb
from tests.datasets.image_files import encode, picture, samples, with_orientation

PLAIN = {"jpeg": samples()["jpeg-rgb"], "png": samples()["png-rgb"]}
EXIF_ORIENTATION_6 = with_orientation("PNG", 6).partition(b"eXIf")[2][:26]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def chunk(kind: bytes, content: bytes, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content) ^ wrong)


HARMLESS = {
    "jpeg: garbage between segments": segment(0xE5, b"x") + b"garbage",
    "jpeg: JFIF without a version": segment(0xE0, b"JFIF\0"),
    "jpeg: an ICC profile without numbers": segment(0xE2, b"ICC_PROFILE\0"),
    "jpeg: a marker of no content": b"\xff\x01",
    "jpeg: a directory of pictures that is cut off": segment(0xE2, b"MPF\0II*\0\x08\0\0\0\x03\0"),
    "jpeg: Photoshop's resources, cut off": segment(0xED, b"Photoshop 3.0\0008BIM\x03\xed\0\0\0\0\0\x10\0"),
    "png: a text of a wrong checksum": chunk(b"tEXt", b"a\0b", wrong=1),
    "png: a text of 20 MB": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(20 << 20), 1)),
    "png: sizes and times cut off": chunk(b"pHYs", b"a") + chunk(b"tIME", b"a"),
    "png: gamma cut off": chunk(b"gAMA", b"a"),
    "png: colours cut off": chunk(b"cHRM", b"a"),
    "png: a colour profile that is none": chunk(b"iCCP", b"abc"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_says_nothing_of_the_pixels_costs_no_image(name: str, tmp_path: Path) -> None:
    form = name.partition(":")[0]
    plain, at = PLAIN[form], 2 if form == "jpeg" else 33
    path = tmp_path / "image"
    path.write_bytes(plain[:at] + HARMLESS[name] + plain[at:])
    assert problems_of(path) == []
    pixels = read_rgb(path)
    path.write_bytes(plain)
    assert (pixels == read_rgb(path)).all()


def test_a_png_is_turned_by_an_orientation_behind_its_pixels(tmp_path: Path) -> None:
    end = PLAIN["png"].index(b"IEND") - 4
    path = tmp_path / "image.png"
    path.write_bytes(PLAIN["png"][:end] + chunk(b"eXIf", EXIF_ORIENTATION_6) + PLAIN["png"][end:])
    assert problems_of(path) == [("exif_orientation", "EXIF orientation 6")]
    assert (read_rgb(path) == np.rot90(picture(), -1)).all()


def test_an_image_of_the_most_pixels_that_are_read_has_no_problem(tmp_path: Path) -> None:
    content = bytearray(encode(Image.fromarray(picture()), "WEBP"))
    side = round(MAX_PIXELS**0.5) - 1  # WebP's largest
    at = content.index(b"VP8L") + 9
    flags = int.from_bytes(content[at : at + 4], "little") >> 28 << 28
    content[at : at + 4] = (flags | side - 1 | side - 1 << 14).to_bytes(4, "little")
    path = tmp_path / "image.webp"
    path.write_bytes(content)
    assert problems_of(path) == []


class Counted(io.BytesIO):
    """A file that counts the bytes that are read of it."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self.taken += len(content)
        return content


def _noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8))


LARGE: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encode(_noise(), "JPEG", quality=95),
    "png": lambda: encode(_noise(), "PNG"),
    "bmp": lambda: encode(_noise(), "BMP"),
    "webp": lambda: encode(_noise(), "WEBP", lossless=True, method=0),
    "tiff": lambda: encode(_noise(), "TIFF"),
    "tiff of tags": lambda: encode(_noise(), "TIFF", tiffinfo={65000: b"x" * 500_000}),
}


@pytest.mark.parametrize("name", LARGE)
def test_of_a_sound_file_little_more_than_the_header_is_read(name: str) -> None:
    content = LARGE[name]()
    file = Counted(content)
    header = read_header(file)
    assert (header.format, header.width, header.height) == (name.partition(" ")[0], 256, 256)
    assert what_is_missing(file, header.format) == ""
    assert len(content) > 70_000 and file.taken < 2_500

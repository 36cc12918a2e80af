"""How an image is turned: by EXIF, wherever a format has it, or by XMP where EXIF says nothing, as Pillow turns it."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.datasets.header_fields import MAX_XMP
from pipeline.datasets.images import probe, problems_of, read_rgb
from tests.datasets.image_files import HEIGHT, WIDTH, encode, picture
from tests.datasets.image_kinds import chunk, png

Chunk = tuple[bytes, bytes]
ATTRIBUTE = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'
ELEMENT = "<x:xmpmeta><rdf:Description><tiff:Orientation>%d</tiff:Orientation></rdf:Description></x:xmpmeta>"


def exif(orientation: int | None) -> bytes:
    """An EXIF block, with its prefix; None: it says something else."""
    block = Image.Exif()
    block[271 if orientation is None else 274] = "maker" if orientation is None else orientation
    return bytes(block.tobytes())


def international(text: str, packed: bool = False) -> Chunk:
    body = zlib.compress(text.encode()) if packed else text.encode()
    return b"iTXt", b"XML:com.adobe.xmp\0" + bytes([packed]) + b"\0en\0\0" + body


def raw_profile(block: bytes, name: bytes = b"exif") -> bytes:
    """As ImageMagick writes it, in lines of 36 bytes."""
    digits = block.hex()
    lines = "\n".join(digits[start : start + 72] for start in range(0, len(digits), 72))
    return b"\n%s\n%8d\n%s\n" % (name, len(block), lines.encode())


def of_chunks(*chunks: Chunk) -> bytes:
    return png(picture().astype(int), 8, 2, chunks=chunks)


def behind_pixels(*chunks: Chunk) -> bytes:
    plain = of_chunks()
    end = plain.rindex(b"IEND") - 4
    return plain[:end] + b"".join(chunk(*own) for own in chunks) + plain[end:]


def photo(form: str, **options: bytes) -> bytes:
    return encode(Image.fromarray(picture()), form, **options)


RAW = b"Raw profile type exif\0"
TURNED: dict[str, tuple[bytes, tuple[int, str]]] = {
    "png, XMP": (of_chunks(international(ATTRIBUTE % 6)), (6, "XMP")),
    "png, XMP as an element, compressed": (of_chunks(international(ELEMENT % 3, packed=True)), (3, "XMP")),
    "png, XMP behind the pixels": (behind_pixels(international(ATTRIBUTE % 8)), (8, "XMP")),
    "png, XMP as plain text": (of_chunks((b"tEXt", b"XML:com.adobe.xmp\0" + (ATTRIBUTE % 5).encode())), (5, "XMP")),
    "png, EXIF": (of_chunks((b"eXIf", exif(8)[6:])), (8, "EXIF")),
    "png, EXIF with its prefix": (of_chunks((b"eXIf", exif(8))), (8, "EXIF")),
    "png, EXIF before XMP": (of_chunks((b"eXIf", exif(3)[6:]), international(ATTRIBUTE % 6)), (3, "EXIF")),
    "png, XMP where EXIF says nothing": (
        of_chunks((b"eXIf", exif(None)[6:]), international(ATTRIBUTE % 6)),
        (6, "XMP"),
    ),
    "png, ImageMagick's text": (of_chunks((b"tEXt", RAW + raw_profile(exif(6)))), (6, "EXIF")),
    "png, ImageMagick's text, compressed": (
        of_chunks((b"zTXt", RAW + b"\0" + zlib.compress(raw_profile(exif(7))))),
        (7, "EXIF"),
    ),
    "jpeg, XMP": (photo("JPEG", xmp=(ATTRIBUTE % 6).encode()), (6, "XMP")),
    "jpeg, both": (photo("JPEG", xmp=(ATTRIBUTE % 6).encode(), exif=exif(8)), (8, "EXIF")),
    "jpeg, XMP where EXIF says nothing": (photo("JPEG", xmp=(ELEMENT % 2).encode(), exif=exif(None)), (2, "XMP")),
    "webp, XMP": (photo("WEBP", xmp=(ATTRIBUTE % 4).encode()), (4, "XMP")),
    "webp, both": (photo("WEBP", xmp=(ATTRIBUTE % 4).encode(), exif=exif(8)), (8, "EXIF")),
    "tiff, XMP": (photo("TIFF", tiffinfo={700: (ATTRIBUTE % 6).encode()}), (6, "XMP")),  # type: ignore[arg-type]
    "tiff, both": (photo("TIFF", tiffinfo={700: (ATTRIBUTE % 6).encode(), 274: 3}), (3, "EXIF")),  # type: ignore[arg-type]
}
STORED: dict[str, bytes] = {
    "png, XMP of 1": of_chunks(international(ATTRIBUTE % 1)),
    "png, XMP of 9": of_chunks(international(ATTRIBUTE % 9)),
    "png, EXIF of 1 before XMP": of_chunks((b"eXIf", exif(1)[6:]), international(ATTRIBUTE % 6)),
    "png, EXIF of 9 before XMP": of_chunks((b"eXIf", exif(9)[6:]), international(ATTRIBUTE % 6)),
    "png, another text": of_chunks((b"tEXt", b"Comment\0" + (ATTRIBUTE % 6).encode())),
    "png, another profile": of_chunks((b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(raw_profile(exif(6))))),
    "jpeg, XMP of nothing": photo("JPEG", xmp=b"<x:xmpmeta/>"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image"


def by_pillow(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)


@pytest.mark.parametrize("name", TURNED)
def test_an_image_is_turned_as_pillow_turns_it_and_a_finding_says_by_what(name: str, path: Path) -> None:
    content, (orientation, said_by) = TURNED[name]
    path.write_bytes(content)
    pixels = read_rgb(path)
    expected = by_pillow(content)
    assert pixels.shape == expected.shape and np.abs(pixels - expected).max() <= (2 if name.startswith("jpeg") else 0)
    header = probe(path)
    assert (header.exif_orientation, header.height, header.width) == (orientation, *pixels.shape[:2])
    assert problems_of(path) == [("exif_orientation", f"{said_by} orientation {orientation}")]


@pytest.mark.parametrize("name", STORED)
def test_what_asks_for_no_turn_leaves_the_image_as_it_is_stored(name: str, path: Path) -> None:
    path.write_bytes(STORED[name])
    assert problems_of(path) == []
    assert read_rgb(path).shape == by_pillow(STORED[name]).shape == (HEIGHT, WIDTH, 3)


BROKEN: dict[str, Callable[[], bytes]] = {
    "text that is not compressed as it says": lambda: of_chunks((b"zTXt", RAW + b"\0no zlib")),
    "a method that PNG does not have": lambda: of_chunks((b"zTXt", RAW + b"\1" + zlib.compress(b"x"))),
    "text without its parts": lambda: of_chunks((b"iTXt", b"XML:com.adobe.xmp\0\0\0en and so on")),
    "text that ends at its name": lambda: of_chunks((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0")),
    "digits that are none": lambda: of_chunks((b"tEXt", RAW + b"\nexif\n 4\nzzzz\n")),
    "an EXIF block of no kind": lambda: of_chunks((b"eXIf", b"Exif\0\0??")),
    "XMP that is not text": lambda: of_chunks((b"tEXt", b"XML:com.adobe.xmp\0\xff\xfe tiff:Orientation=6")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_note_costs_no_image(name: str, path: Path) -> None:
    path.write_bytes(BROKEN[name]())
    assert problems_of(path, deep=True) == [] and (read_rgb(path) == picture()).all()


def test_xmp_behind_the_end_of_a_tiff_costs_no_image(path: Path) -> None:
    content = bytearray(photo("TIFF", tiffinfo={700: (ATTRIBUTE % 6).encode()}))  # type: ignore[arg-type]
    entry = content.index((700).to_bytes(2, "little") + b"\1\0")
    content[entry + 8 : entry + 12] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    assert problems_of(path, deep=True) == [] and (read_rgb(path) == picture()).all()


def test_no_more_of_xmp_is_unpacked_than_its_limit(path: Path) -> None:
    for before, turned in ((MAX_XMP // 2, True), (MAX_XMP, False)):
        path.write_bytes(of_chunks(international(" " * before + ATTRIBUTE % 6, packed=True)))
        assert bool(problems_of(path)) == turned

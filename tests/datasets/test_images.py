"""Headers, pixels of every mode and orientation, and what the dataset stage is told about image files.

Pillow and hand-made bytes say what is right; the reader itself decodes with OpenCV.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.datasets.image_headers import ImageHeader
from pipeline.datasets.images import ImageProblem, probe, problems_of, read_rgb
from pipeline.runtime.errors import InputError
from tests.datasets.image_files import (
    HEIGHT,
    WIDTH,
    encode,
    gray16,
    picture,
    samples,
    with_alpha,
    with_orientation,
)

SAMPLES = samples()
ORIENTED = ("JPEG", "PNG", "WEBP", "TIFF")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image"


def _read(path: Path, content: bytes) -> np.ndarray:
    path.write_bytes(content)
    pixels = read_rgb(path)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    return pixels


def _by_pillow(content: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))


def _far(pixels: np.ndarray, expected: np.ndarray) -> int:
    assert pixels.shape == expected.shape
    return int(np.abs(pixels.astype(int) - expected).max())


@pytest.mark.parametrize("name", SAMPLES)
def test_the_header_tells_what_the_file_is(name: str, path: Path) -> None:
    path.write_bytes(SAMPLES[name])
    form, _, what = name.partition("-")
    turned = what == "turned"
    modes = {"palette": "palette", "runs": "palette", "animated": "palette"}
    modes |= {mode: mode for mode in ("gray", "alpha", "cmyk", "16bit")}
    if form == "bmp":
        modes["gray"] = "palette"  # of grays: BMP has no other way
    width, height = (HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT)
    assert probe(path) == ImageHeader(form, width, height, 6 if turned else 1, modes.get(what, "rgb"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in SAMPLES if not name.endswith(("-16bit", "-alpha", "-cmyk"))])
def test_pixels_are_those_of_pillow(name: str, path: Path) -> None:
    tolerance = 2 if name == "webp-lossy" else 0  # libwebp of another version may smooth chroma otherwise
    assert _far(_read(path, SAMPLES[name]), _by_pillow(SAMPLES[name])) <= tolerance


@pytest.mark.parametrize("name", ["png-rgb", "bmp-rgb", "webp-rgb", "tiff-rgb", "tiff-lzw"])
def test_lossless_files_give_back_the_picture(name: str, path: Path) -> None:
    assert (_read(path, SAMPLES[name]) == picture()).all()


def test_run_lengths_are_the_two_colours_of_the_palette(path: Path) -> None:
    pixels = _read(path, SAMPLES["bmp-runs"])
    assert (pixels[:, : WIDTH // 2] == [10, 20, 30]).all() and (pixels[:, WIDTH // 2 :] == [200, 150, 100]).all()


def test_gray_is_repeated(path: Path) -> None:
    for name in ("jpeg-gray", "png-gray", "bmp-gray", "tiff-gray"):
        pixels = _read(path, SAMPLES[name])
        assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("name", ["png-alpha", "webp-alpha", "bmp-alpha"])
def test_alpha_is_dropped_and_the_colours_are_those_of_the_file(name: str, path: Path) -> None:
    assert (_read(path, SAMPLES[name]) == picture()).all()


def test_alpha_of_a_tiff_blends_with_black(path: Path) -> None:
    alpha = np.asarray(with_alpha())[..., 3:] / 255.0
    assert np.abs(_read(path, SAMPLES["tiff-alpha"]) - picture() * alpha).max() <= 1


def test_gray_with_alpha_and_transparent_colours_are_what_they_are(path: Path) -> None:
    gray = with_alpha().convert("LA")
    assert (_read(path, encode(gray, "PNG")) == np.asarray(gray)[..., :1]).all()
    palette = Image.fromarray(picture()).quantize(32)
    expected = np.asarray(palette.convert("RGB"))
    assert (_read(path, encode(palette, "PNG", transparency=5)) == expected).all()
    assert (_read(path, encode(palette, "PNG", transparency=bytes(range(32)))) == expected).all()


def test_transparent_pixels_of_a_gif_get_its_background_colour(path: Path) -> None:
    palette = Image.fromarray(picture()).quantize(32)
    content = encode(palette, "GIF", transparency=5, background=2)
    pixels = _read(path, content)
    stored = Image.open(io.BytesIO(content))
    clear = np.asarray(stored) == stored.info["transparency"]
    assert clear.any()
    assert (pixels[~clear] == np.asarray(palette.convert("RGB"))[~clear]).all()
    start = 13 + 3 * content[11]  # the palette stands behind a header of 13 bytes, whose byte 11 is the background
    assert (pixels[clear] == list(content[start : start + 3])).all()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_of_16_bits_the_upper_8_are_kept(form: str, path: Path) -> None:
    for channels in (1, 3, 4):
        stored = np.dstack([gray16() // divisor for divisor in (1, 2, 3, 1)[:channels]])
        shown = stored[..., [0, 0, 0]] if channels == 1 else stored[..., [2, 1, 0]]
        if channels == 4:
            stored[..., 3] = 0xFFFF
        content = cv2.imencode(f".{form.lower()}", stored)[1].tobytes()
        assert _far(_read(path, content), shown >> 8) <= 1
        assert probe(path).mode == "16bit"


def test_bits_become_black_and_white(path: Path) -> None:
    bits = Image.fromarray(picture()).convert("1")
    for form in ("PNG", "BMP", "TIFF"):
        assert (_read(path, encode(bits, form)) == np.asarray(bits.convert("RGB"))).all()


def test_cmyk_of_a_tiff_and_inverted_of_a_jpeg(path: Path) -> None:
    inks = np.dstack([255 - picture(), np.full((HEIGHT, WIDTH), 64, np.uint8)])
    expected = picture() * (1 - 64 / 255)
    image = Image.frombytes("CMYK", (WIDTH, HEIGHT), inks.tobytes())
    assert np.abs(_read(path, encode(image, "TIFF")) - expected).max() <= 1
    jpeg = encode(image, "JPEG", quality=100, subsampling=0)
    assert b"Adobe" in jpeg and probe(path).mode == "cmyk"
    assert np.abs(_read(path, jpeg) - expected).max() <= 4
    assert _far(_read(path, jpeg), _by_pillow(jpeg)) <= 2
    unmarked = jpeg.replace(b"Adobe", b"Other")
    assert _far(_read(path, unmarked), _by_pillow(unmarked)) <= 2
    ycck = bytearray(jpeg)
    ycck[ycck.index(b"Adobe") + 11] = 2  # the transform: the same bytes now mean YCCK
    assert _far(_read(path, bytes(ycck)), _by_pillow(bytes(ycck))) <= 2


@pytest.mark.parametrize("form", ORIENTED)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_are_turned_upright(form: str, orientation: int, path: Path) -> None:
    content = with_orientation(form, orientation)
    plain = _read(path, with_orientation(form, 1))
    upright = {
        1: plain,
        2: plain[:, ::-1],
        3: plain[::-1, ::-1],
        4: plain[::-1],
        5: plain.transpose(1, 0, 2),
        6: np.rot90(plain, -1),
        7: np.rot90(plain, 2).transpose(1, 0, 2),
        8: np.rot90(plain),
    }[orientation]
    pixels = _read(path, content)
    assert (pixels == upright).all() and _far(pixels, _by_pillow(content)) == 0
    header = probe(path)
    assert (header.exif_orientation, header.height, header.width) == (orientation, *pixels.shape[:2])


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16", "P"])
def test_tiffs_of_all_modes_are_turned(mode: str, path: Path) -> None:
    images = {"RGBA": with_alpha(), "I;16": Image.fromarray(gray16()), "P": Image.fromarray(picture()).quantize(32)}
    image = images.get(mode) or Image.fromarray(picture()).convert(mode)
    plain = _read(path, encode(image, "TIFF"))
    for orientation, turns in ((3, 2), (6, -1), (8, 1)):
        pixels = _read(path, encode(image, "TIFF", tiffinfo={274: orientation}))
        assert (pixels == np.rot90(plain, turns)).all()


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff\xff\xff\xff", b"\0" * 64])
def test_a_broken_exif_block_turns_nothing(exif: bytes, path: Path) -> None:
    content = encode(Image.fromarray(picture()), "JPEG", exif=b"Exif\0\0" + exif)
    assert (_read(path, content) == _read(path, SAMPLES["jpeg-rgb"])).all()
    path.write_bytes(content)
    assert probe(path).exif_orientation == 1


def test_an_orientation_that_does_not_exist_turns_nothing(path: Path) -> None:
    for form in ORIENTED:
        for orientation in (0, 9, 65535):
            assert _far(_read(path, with_orientation(form, orientation)), _read(path, with_orientation(form, 1))) == 0


def test_big_endian_and_big_tiffs(path: Path) -> None:
    little = Image.fromarray(picture())
    assert (_read(path, encode(little, "TIFF", big_tiff=True)) == picture()).all()
    entries = [(256, 3, WIDTH), (257, 3, HEIGHT), (258, 3, 8), (262, 3, 1), (273, 4, 200), (279, 4, WIDTH * HEIGHT)]
    packed = [struct.pack(">HHIH2x" if kind == 3 else ">HHII", tag, kind, 1, value) for tag, kind, value in entries]
    content = b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + b"".join(packed) + bytes(4)
    gray = picture()[..., 0]
    assert (_read(path, content.ljust(200, b"\0") + gray.tobytes()) == gray[..., None]).all()


def test_what_stands_behind_a_jpeg_does_no_harm(path: Path) -> None:
    for name in ("jpeg-rgb", "jpeg-progressive"):
        for behind in (b"\0" * 100, b"\xff\xc4\0", b"film" * 1000):
            assert (_read(path, SAMPLES[name] + behind) == _read(path, SAMPLES[name])).all()


def test_a_plain_image_has_no_problems(path: Path) -> None:
    for name in ("jpeg-rgb", "jpeg-progressive", "png-rgb", "bmp-rgb", "webp-rgb", "webp-lossy", "tiff-rgb"):
        path.write_bytes(SAMPLES[name])
        assert problems_of(path) == problems_of(path, deep=True) == []


def test_problems_are_named(path: Path) -> None:
    def problems(content: bytes, max_pixels: int = 1000, deep: bool = False) -> list[ImageProblem]:
        path.write_bytes(content)
        return problems_of(path, max_pixels, deep)

    assert problems(SAMPLES["jpeg-turned"]) == [("exif_orientation", "EXIF orientation 6")]
    assert problems(SAMPLES["jpeg-cmyk"]) == [("mode", "cmyk")]
    assert problems(SAMPLES["png-rgb"], 559) == [("too_large", "28 x 20 px are more than the 559 pixels that are read")]
    assert problems(SAMPLES["jpeg-rgb"][:-2]) == [("truncated", "it has no end marker")]
    assert problems(SAMPLES["jpeg-rgb"][:50]) == [("truncated", "it ends inside its header")]
    assert problems(SAMPLES["bmp-gray"][:-5])[0].kind == "truncated"
    assert problems(b"") == [("truncated", "it is empty")]
    assert problems(b"<html>") == [("undecodable", "it is not a JPEG, PNG, BMP, WebP, TIFF or GIF")]
    damaged = bytearray(SAMPLES["png-rgb"])
    damaged[60] ^= 0xFF
    assert problems(bytes(damaged)) == []
    assert problems(bytes(damaged), deep=True) == [("undecodable", "cannot be decoded as an image")]


def test_missing_files_and_folders(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        for function in (read_rgb, probe, problems_of):
            with pytest.raises(InputError, match="no such file; put the image there"):
                function(path)


def test_photos_are_read_as_opencv_reads_them(shared: Path) -> None:
    photos = sorted((shared / "data/voc6_mini/JPEGImages").glob("*.jpg"))[::5]
    photos += sorted((shared / "data/kitti_tiny").rglob("*.png"))[:10]
    assert len(photos) > 100
    for photo in photos:
        assert (read_rgb(photo) == cv2.imdecode(np.fromfile(photo, np.uint8), cv2.IMREAD_COLOR_RGB)).all(), photo
        assert problems_of(photo) == []

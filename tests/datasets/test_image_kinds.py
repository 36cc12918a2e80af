"""Kinds of image files: what is accepted by the header decodes, and to the colours that were written."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.datasets import packed_tiffs
from pipeline.datasets.images import probe, problems_of, read_rgb
from pipeline.runtime.errors import InputError
from tests.datasets.image_files import HEIGHT, WIDTH, encode, picture
from tests.datasets.image_kinds import Masks, bmp_of_palette, bmp_of_words, gif, png, tiff, under_masks

DRAW = np.random.default_rng(0)
MASKS: dict[str, tuple[int, Masks]] = {
    "555": (16, (0x7C00, 0x3E0, 0x1F, 0)),
    "1555": (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    "565": (16, (0xF800, 0x7E0, 0x1F, 0)),
    "565 of BGR": (16, (0x1F, 0x7E0, 0xF800, 0)),
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "231": (16, (0x3000, 0xE00, 0x100, 0)),
    "888": (32, (0xFF0000, 0xFF00, 0xFF, 0)),
    "8888": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "888 of BGR": (32, (0xFF, 0xFF00, 0xFF0000, 0)),
    "RGBA from the top": (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
    "10 10 10 2": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
    "11 11 10": (32, (0xFFE00000, 0x1FFC00, 0x3FF, 0)),
    "20 6 6": (32, (0xFFFFF000, 0xFC0, 0x3F, 0)),
    "no blue": (32, (0xFF00, 0xFF, 0, 0)),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image"


def refusal(path: Path, content: bytes) -> str:
    """Why the header is refused, "" where it is accepted; then the file must decode."""
    path.write_bytes(content)
    kinds = {problem.kind: problem.detail for problem in problems_of(path)}
    reason = kinds.get("undecodable") or kinds.get("too_large") or kinds.get("truncated") or ""
    if reason:
        with pytest.raises(InputError) as caught:
            read_rgb(path)
        assert reason in str(caught.value) and "\n" not in str(caught.value)
    else:
        assert read_rgb(path).shape == (probe(path).height, probe(path).width, 3)
    return reason


def far(path: Path, content: bytes, expected: np.ndarray) -> float:
    assert refusal(path, content) == ""
    return float(np.abs(read_rgb(path) - expected).max())


@pytest.mark.parametrize("name", MASKS)
def test_colours_of_a_bitmap_stand_where_its_masks_say(name: str, path: Path) -> None:
    bits, masks = MASKS[name]
    headers = [(header, 3) for header in (40, 52, 56, 108, 124)] + [(40, 6), (56, 6)]
    for (header, compression), top_down, alpha in itertools.product(headers, (False, True), (0, 0x5A5A5A5A)):
        words, left = under_masks(picture(), masks, alpha, bits)
        content = bmp_of_words(words, bits, header, compression, masks, top_down)
        assert far(path, content, left) <= 0.5, (header, compression, top_down, alpha)
        has_alpha = masks[3] != 0 and (compression == 6 or header >= 56)
        assert probe(path).mode == ("alpha" if has_alpha else "rgb")


@pytest.mark.parametrize("bits", [16, 32])
def test_without_masks_colours_stand_in_their_usual_places_and_the_rest_is_no_alpha(bits: int, path: Path) -> None:
    masks = MASKS["555" if bits == 16 else "888"][1]
    for header, top_down, rest in itertools.product((40, 52, 56, 64, 108, 124), (False, True), (0, 0xA5A5A5A5)):
        words, left = under_masks(picture(), masks, rest, bits)
        content = bmp_of_words(words, bits, header, 0, masks, top_down)
        assert far(path, content, left) <= 0.5
        assert np.abs(read_rgb(path) - np.asarray(Image.open(path).convert("RGB")).astype(int)).max() <= 1


@pytest.mark.parametrize("header", [12, 40, 64, 108, 124])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palettes_of_all_bitmaps_are_looked_up(header: int, bits: int, path: Path) -> None:
    palette = DRAW.integers(0, 256, (1 << bits, 3))
    indices = DRAW.integers(0, len(palette) - 1, (HEIGHT, WIDTH + 1))
    assert far(path, bmp_of_palette(indices, palette, bits, header), palette[indices]) == 0
    if header > 12:
        content = bmp_of_palette(indices, palette[:-1], bits, header, used=len(palette) - 1)
        assert far(path, content, palette[indices]) == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({54: 0xFF00FF, 58: 0xFF00}, "are no places of colours"),  # red in two pieces
        ({58: 0xFF0000}, "are no places of colours"),  # green where red is
        ({54: 0, 58: 0, 62: 0}, "are no places of colours"),
        ({10: 20}, "begin inside its header"),
        ({30: 4}, "with compression 4"),
        ({30: 1}, "of 32 bits with compression 1"),
        ({14: 41}, "41 bytes long"),
    ],
)
def test_bitmaps_that_make_no_sense_are_refused(changes: dict[int, int], reason: str, path: Path) -> None:
    masks = MASKS["888"][1]
    content = bytearray(bmp_of_words(under_masks(picture(), masks, 0, 32)[0], 32, 40, 3, masks))
    for at, value in changes.items():
        content[at : at + 4] = value.to_bytes(4, "little")
    assert reason in refusal(path, bytes(content))


def test_palettes_and_bits_that_bitmaps_do_not_have_are_refused(path: Path) -> None:
    palette, indices = DRAW.integers(0, 256, (300, 3)), DRAW.integers(0, 2, (HEIGHT, WIDTH))
    assert "palette has 300 colours" in refusal(path, bmp_of_palette(indices, palette, 8, 40, used=300))
    for header in (12, 40):
        assert "2 bits" in refusal(path, bmp_of_palette(indices, palette[:4], 2, header))


def _shown(samples: np.ndarray, bits: int, photometric: int, palette: np.ndarray | None) -> np.ndarray:
    """What a TIFF of these samples shows without regard to alpha, (H, W, 3), 0..255."""
    values = samples >> 8 if bits == 16 else samples * 255 / ((1 << bits) - 1)
    if photometric in (0, 1):
        return np.repeat(np.abs(values[..., :1] - (255 if photometric == 0 else 0)), 3, axis=2)
    if photometric == 3:
        assert palette is not None
        return (palette >> 8)[:, samples[..., 0]].transpose(1, 2, 0)
    if photometric == 5:
        return (255 - values[..., :3]) * (255 - values[..., 3:4]) / 255
    if photometric == 6:
        y, blue, red = (values[..., index] - (128 if index else 0) for index in range(3))
        colours = [y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue]
        return np.clip(np.stack(colours, axis=2), 0, 255)
    return values[..., :3]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("photometric", [0, 1, 2, 3, 5, 6])
def test_every_tiff_is_refused_or_has_the_colours_of_its_samples(bits: int, photometric: int, path: Path) -> None:
    least = {2: 3, 5: 4, 6: 3}.get(photometric, 1)
    palette = DRAW.integers(0, 65536, (3, 1 << min(bits, 8))) if photometric == 3 else None
    accepted = 0
    for channels, planes, tiled, order in itertools.product(range(least, 6), (False, True), (False, True), "<>"):
        samples = DRAW.integers(0, 1 << bits, (HEIGHT, WIDTH, channels))
        if photometric == 3:
            samples %= 256
        for kind in [None] if channels == least else [0, 2]:  # of the samples beside the colours; 2: alpha
            tags = {} if kind is None else {338: [kind, *[0] * (channels - least - 1)]}
            tags |= {} if palette is None else {320: palette.ravel().tolist()}
            content = tiff(samples, bits, photometric, tags=tags, planes=planes, tiled=tiled, order=order)
            if refusal(path, content):
                continue
            accepted += 1
            shown = _shown(samples, bits, photometric, palette)
            if kind == 2 and photometric == 2:  # libtiff blends with black
                alpha = samples[..., 3:] >> 8 if bits == 16 else samples[..., 3:]
                assert np.abs(read_rgb(path) - shown * alpha / 255).max() < 3
            else:
                assert np.abs(read_rgb(path) - shown).max() <= 1, (channels, planes, tiled, order, kind)
    plain = {0: (1, 2, 4, 8, 16), 1: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 5: (8,), 6: (8,)}[photometric]
    assert (accepted > 0) == (bits in plain)


def test_tiffs_that_are_not_read_say_what_they_are(path: Path) -> None:
    gray, rgb = picture()[..., :1].astype(int), picture().astype(int)
    assert refusal(path, tiff(gray >> 4, 4, 1, tiled=True)) == (
        "it is a TIFF of 1 channel of 4 bits, photometric interpretation 1, in tiles, which cannot be read"
    )
    for tags in ({259: [3]}, {317: [2], 259: [5]}, {258: [4, 4, 4]}):
        assert "it is a TIFF of 4 bits, of compression " in refusal(path, tiff(gray >> 4, 4, 1, tags=tags))
    assert "in planes, in tiles, which cannot" in refusal(path, tiff(rgb, 8, 2, planes=True, tiled=True))
    assert "3 channels of 8 bits" in refusal(path, tiff(rgb, 8, 2, tags={258: [8, 8, 16]}))
    assert "interpretation 8" in refusal(path, tiff(rgb, 8, 8))
    assert refusal(path, tiff(gray, 8, 1, tags={339: [2]})) and refusal(path, tiff(gray, 32, 1, tags={339: [3]}))
    for compression in (6, 32809, 34676, 34925, 50000, 50001, 60000):
        assert f"compression {compression}" in refusal(path, tiff(gray, 8, 1, tags={259: [compression]}))
    assert "palette is missing" in refusal(path, tiff(gray, 8, 3))
    assert "palette is missing or too short" in refusal(path, tiff(gray, 8, 3, tags={320: [0] * 48}))


@pytest.mark.parametrize("name", ["tiff_lzw", "packbits", "tiff_deflate", "tiff_adobe_deflate", "jpeg", "lzma", "zstd"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_compressed_tiffs_are_those_of_pillow_or_refused(name: str, mode: str, path: Path) -> None:
    if name == "jpeg" and mode in ("1", "P"):
        pytest.skip("JPEG has no such pixels")
    content = encode(Image.fromarray(picture()).convert(mode), "TIFF", compression=name)
    if name in ("lzma", "zstd"):
        assert "compression" in refusal(path, content)
    else:
        assert far(path, content, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)) <= 2


@pytest.mark.parametrize("name", ["tiff_ccitt", "group3", "group4"])
def test_faxes_are_read(name: str, path: Path) -> None:
    bits = Image.fromarray(picture()).convert("1")
    assert far(path, encode(bits, "TIFF", compression=name), np.asarray(bits.convert("RGB")).astype(int)) == 0


def test_every_png_that_the_format_has_is_read_and_no_other(path: Path) -> None:
    valid = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    for colour, bits in itertools.product(range(8), (1, 2, 3, 4, 8, 16)):
        samples = DRAW.integers(0, 1 << bits, (HEIGHT, WIDTH, channels.get(colour, 1)))
        palette = DRAW.integers(0, 256, (1 << min(bits, 8), 3))
        chunks = [(b"PLTE", palette.astype(np.uint8).tobytes())] if colour == 3 else []
        content = png(samples, bits, colour, chunks=chunks)
        if bits not in valid.get(colour, ()):
            assert "which PNG does not have" in refusal(path, content)
            continue
        shown = palette[samples[..., 0]] if colour == 3 else samples[..., : 3 if colour in (2, 6) else 1]
        if colour != 3:
            shown = shown >> 8 if bits == 16 else shown * 255 // ((1 << bits) - 1)
        assert far(path, content, np.broadcast_to(shown, (HEIGHT, WIDTH, 3))) <= (bits == 16), (colour, bits)


def test_pngs_without_pixels_or_palette_or_with_other_methods_are_refused(path: Path) -> None:
    samples = DRAW.integers(0, 256, (HEIGHT, WIDTH, 1))
    assert "no palette (PLTE)" in refusal(path, png(samples, 8, 3))
    for methods in (b"\1\0\0", b"\0\1\0", b"\0\0\2"):
        assert "methods that PNG does not have" in refusal(path, png(samples, 8, 0, methods=methods))
    content = png(samples, 8, 0)
    at = content.index(b"IDAT") - 4
    assert "no pixels (IDAT)" in refusal(path, content[:at] + content[-12:])
    assert "does not begin with its one IHDR" in refusal(
        path, content[:8] + b"\0\0\0\4CgBI\0\0\0\0\0\0\0\0" + content[8:]
    )
    assert "a side of more than the 1000000 px" in refusal(path, png(np.zeros((1, 1_000_001, 1), np.uint8), 8, 0))


@pytest.mark.parametrize("default", [False, True])
def test_of_an_animated_png_the_first_picture_is_read(default: bool, path: Path) -> None:
    first = Image.fromarray(picture())
    later = [first.transpose(Image.Transpose.ROTATE_180), first.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    content = encode(first, "PNG", save_all=True, append_images=later, default_image=default)
    assert content.count(b"fdAT") >= 2
    assert far(path, content, picture()) == 0
    broken = content.replace(content[content.index(b"acTL") + 4 :][:8], bytes(8))  # no pictures at all
    path.write_bytes(broken)
    assert (read_rgb(path) == picture()).all()


def test_gifs_are_read_or_refused(path: Path) -> None:
    palette, indices = DRAW.integers(0, 256, (4, 3)), DRAW.integers(0, 4, (HEIGHT, WIDTH))
    shown = palette[indices]
    assert far(path, gif(indices, palette), shown) == 0
    assert far(path, gif(indices, palette, local=True), shown) == 0
    assert far(path, gif(indices, palette, background=200), shown) == 0  # a colour that it lacks
    assert far(path, gif(indices % 2, palette[:2], code_bits=2), palette[indices % 2]) == 0
    larger = np.zeros((HEIGHT + 4, WIDTH + 4, 3), int) + palette[0]
    larger[3:-1, 2:-2] = shown
    assert far(path, gif(indices, palette, screen=(WIDTH + 4, HEIGHT + 4), at=(2, 3)), larger) == 0
    for content, reason in (
        (gif(indices, palette, at=(1, 0)), "sticks out of its"),
        (gif(indices, palette, screen=(5, 5)), "sticks out of its"),
        (gif(indices, None), "no palette"),
        (gif(indices % 2, palette[:2], code_bits=1), "begin with 1 bits"),
        (gif(indices, palette)[: 13 + 12] + b";", "no picture"),
    ):
        assert reason in refusal(path, content)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_of_an_animated_webp_the_first_picture_is_read(lossless: bool, mode: str, path: Path) -> None:
    first = Image.fromarray(picture()).convert(mode)
    later = [first.transpose(Image.Transpose.ROTATE_180)]
    content = encode(first, "WEBP", lossless=lossless, save_all=True, append_images=later)
    assert b"ANMF" in content
    assert far(path, content, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)) <= 2
    empty = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\x1b\0\0\x13\0\0"
    assert "no picture" in refusal(path, empty)


def test_kinds_of_jpeg_that_no_decoder_reads_are_refused(path: Path) -> None:
    plain = encode(Image.fromarray(picture()), "JPEG", subsampling="4:2:0")
    at = plain.index(b"\xff\xc0")
    for frame in (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF):
        assert f"frame {frame:#x}" in refusal(path, plain[: at + 1] + bytes([frame]) + plain[at + 2 :])
    for first, second in ((0x32, 0x21), (0x51, 0x11), (0x21, 0x01)):
        changed = bytearray(plain)
        changed[at + 11], changed[at + 14] = first, second
        assert "do not fit together" in refusal(path, bytes(changed))
    for subsampling in ("4:4:4", "4:2:2", "4:2:0", "4:1:1"):
        content = encode(Image.fromarray(picture()), "JPEG", subsampling=subsampling)
        assert far(path, content, np.asarray(Image.open(io.BytesIO(content))).astype(int)) <= 2


def test_the_shared_odd_images(shared: Path, path: Path) -> None:
    folder = shared / "data/trouble/images"
    assert (read_rgb(folder / "rgb32bf.bmp") == read_rgb(folder / "rgb24.bmp")).all()
    gray = (folder / "hopper4.tif").read_bytes()
    assert far(path, gray, np.asarray(Image.open(io.BytesIO(gray)).convert("RGB")).astype(int)) == 0


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("width", [1, 7, 28])
def test_pixels_that_share_bytes_are_those_of_pillow_however_they_are_turned(bits: int, width: int, path: Path) -> None:
    samples = DRAW.integers(0, 1 << bits, (HEIGHT, width, 1))
    palette = DRAW.integers(0, 65536, (3, 1 << bits)).ravel().tolist()
    for photometric, orientation, order in itertools.product((0, 1, 3), (1, 3, 6), "<>"):
        tags = {274: [orientation]} | ({320: palette} if photometric == 3 else {})
        content = tiff(samples, bits, photometric, tags=tags, order=order)
        with Image.open(io.BytesIO(content)) as image:
            upright = ImageOps.exif_transpose(image)
            assert far(path, content, np.asarray(upright.convert("RGB")).astype(int)) <= (photometric == 3)


@pytest.mark.parametrize("name", ["tiff_lzw", "packbits", "tiff_deflate", "tiff_adobe_deflate"])
def test_pixels_that_share_bytes_may_be_compressed(name: str, path: Path) -> None:
    packed = DRAW.integers(0, 256, (HEIGHT, 14, 1))
    content = encode(Image.fromarray(packed[..., 0].astype(np.uint8)), "TIFF", compression=name)
    wide = packed_tiffs._with_tags(content, {256: 28, 258: 4})  # two pixels a byte
    shown = np.stack([packed >> 4, packed & 15], axis=2).reshape(HEIGHT, 28, 1) * 17
    assert far(path, wide, np.repeat(shown, 3, axis=2)) == 0


def test_of_16_bits_whose_upper_ones_are_not_used_a_finding_says_that_they_are_dark(path: Path) -> None:
    bright = DRAW.integers(0, 1 << 16, (HEIGHT, WIDTH, 3))
    bright[0, 0] = 0xFFFF
    for samples, colour in ((bright, 2), (bright[..., :1], 0)):
        for content in (png(samples, 16, colour), tiff(samples, 16, {2: 2, 0: 1}[colour])):
            path.write_bytes(content)
            assert problems_of(path) == [("mode", "16bit")]
        of_12 = samples >> 4
        for content in (png(of_12, 16, colour), tiff(of_12, 16, {2: 2, 0: 1}[colour])):
            path.write_bytes(content)
            ((kind, detail),) = problems_of(path)
            assert kind == "mode" and detail.startswith("16bit, no value above 4095 of 65535, so that it is almost ")
    # Gray has the scale of colours, which are Pillow's; of gray alone Pillow cuts off what is above 255.
    path.write_bytes(png(bright[..., :1], 16, 0))
    gray = read_rgb(path)
    path.write_bytes(png(bright[..., [0, 0, 0]], 16, 2))
    assert (read_rgb(path) == gray).all() and (gray == np.asarray(Image.open(path).convert("RGB"))).all()

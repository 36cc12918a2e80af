"""Small image files of every format and mode, made by Pillow, and the pixels that they stand for."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 20, 28


def picture() -> np.ndarray:
    """(20, 28, 3) uint8 RGB: smooth, so that lossy formats keep it, and different in every corner."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / np.array([HEIGHT, WIDTH]).reshape(2, 1, 1)
    channels = [40 + 180 * x, 220 - 190 * y, 30 + 100 * (x + y)]
    return np.stack(channels, axis=2).astype(np.uint8)


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    """The file that Pillow writes, lossless where the format can be."""
    if form == "WEBP":
        options = {"lossless": True, "exact": True, **options}
    if form == "JPEG":
        options = {"quality": 95, **options}
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def with_alpha() -> Image.Image:
    """The picture, opaque at its left side and transparent at its right."""
    alpha = np.linspace(255, 0, WIDTH).astype(np.uint8)
    return Image.fromarray(np.dstack([picture(), np.tile(alpha, (HEIGHT, 1))]), "RGBA")


def gray16() -> np.ndarray:
    """(20, 28) uint16 over the whole range."""
    return np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)


def with_orientation(form: str, orientation: int) -> bytes:
    """The picture in a file whose EXIF says how to turn it."""
    image = Image.fromarray(picture())
    if form == "TIFF":
        return encode(image, form, tiffinfo={274: orientation})
    exif = Image.Exif()
    exif[274] = orientation
    return encode(image, form, exif=exif.tobytes())


def bmp_with_alpha() -> bytes:
    """A BMP of version 4, 32 bits a pixel, all of them transparent: Pillow writes none."""
    pixels = np.dstack([picture()[::-1, :, ::-1], np.zeros((HEIGHT, WIDTH), np.uint8)]).tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 32, 3, len(pixels), 2835, 2835, 0, 0) + masks
    info += b"BGRs" + bytes(108 - len(info) - 4)
    return struct.pack("<2sIHHI", b"BM", 14 + 108 + len(pixels), 0, 0, 14 + 108) + info + pixels


def bmp_of_runs() -> bytes:
    """A BMP of 8 bits in run lengths, two runs a row, in the colours (10, 20, 30) and (200, 150, 100)."""
    row = bytes([WIDTH // 2, 0, WIDTH - WIDTH // 2, 1, 0, 0])
    pixels = row * HEIGHT + bytes([0, 1])
    palette = bytes([30, 20, 10, 0, 100, 150, 200, 0])
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, len(pixels), 2835, 2835, 2, 0)
    offset = 14 + 40 + len(palette)
    return struct.pack("<2sIHHI", b"BM", offset + len(pixels), 0, 0, offset) + info + palette + pixels


def samples() -> dict[str, bytes]:
    """One file of each format and mode, named `format-mode`."""
    rgb = Image.fromarray(picture())
    files = {f"{form.lower()}-rgb": encode(rgb, form) for form in ("JPEG", "PNG", "BMP", "WEBP", "TIFF")}
    for form in ("JPEG", "PNG", "BMP", "TIFF"):
        files[f"{form.lower()}-gray"] = encode(rgb.convert("L"), form)
    for form in ("PNG", "BMP", "GIF", "TIFF"):
        files[f"{form.lower()}-palette"] = encode(rgb.quantize(32), form)
    for form in ("PNG", "WEBP", "TIFF"):
        files[f"{form.lower()}-alpha"] = encode(with_alpha(), form)
    for form in ("PNG", "TIFF"):
        files[f"{form.lower()}-16bit"] = encode(Image.fromarray(gray16()), form)
    for form in ("JPEG", "TIFF"):
        files[f"{form.lower()}-cmyk"] = encode(rgb.convert("CMYK"), form)
    files["bmp-alpha"] = bmp_with_alpha()
    files["bmp-runs"] = bmp_of_runs()
    files["jpeg-progressive"] = encode(rgb, "JPEG", progressive=True)
    files["jpeg-turned"] = with_orientation("JPEG", 6)
    files["webp-turned"] = with_orientation("WEBP", 6)
    files["webp-lossy"] = encode(rgb, "WEBP", lossless=False, quality=90)
    files["png-turned"] = with_orientation("PNG", 6)
    files["tiff-lzw"] = encode(rgb, "TIFF", compression="tiff_lzw")
    files["tiff-turned"] = with_orientation("TIFF", 6)
    files["gif-animated"] = encode(
        rgb.quantize(32), "GIF", save_all=True, append_images=[rgb.transpose(Image.Transpose.ROTATE_180).quantize(32)]
    )
    return files

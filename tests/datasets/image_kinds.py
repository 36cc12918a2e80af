"""Image files of uncommon kinds, written byte by byte, as bmpsuite and libtiff's test pictures are."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

Masks = tuple[int, int, int, int]  # red, green, blue, alpha


def under_masks(pixels: np.ndarray, masks: Masks, alpha: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) uint8 pixels as words of so many bits, and the pixels that are left of them, float64, 0..255."""
    words, left = np.zeros(pixels.shape[:2], np.uint64), np.zeros(pixels.shape)
    for channel, mask in enumerate(masks[:3]):
        if mask:
            shift = (mask & -mask).bit_length() - 1
            values = np.round(pixels[..., channel] / 255 * (mask >> shift))
            words |= values.astype(np.uint64) << np.uint64(shift)
            left[..., channel] = values * 255 / (mask >> shift)
    rest = (1 << bits) - 1 & ~(masks[0] | masks[1] | masks[2])
    return words | np.uint64(rest & alpha), left


def bmp_of_words(
    words: np.ndarray, bits: int, header: int, compression: int, masks: Masks, top_down: bool = False
) -> bytes:
    """(H, W) words as a bitmap of 16 or 32 bits whose header is so long; masks stand where it has them."""
    height, width = words.shape
    rows = (words if top_down else words[::-1]).astype(f"<u{bits // 8}").view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    info = struct.pack("<IiiHHII", header, width, -height if top_down else height, 1, bits, compression, rows.size)
    info += bytes(16)
    if compression in (3, 6):
        info += struct.pack("<4I", *masks)[: 16 if compression == 6 or header >= 56 else 12]
    info = info.ljust(header, b"\0")
    return struct.pack("<2sIHHI", b"BM", 14 + len(info) + rows.size, 0, 0, 14 + len(info)) + info + rows.tobytes()


def bmp_of_palette(indices: np.ndarray, palette: np.ndarray, bits: int, header: int, used: int = 0) -> bytes:
    """(H, W) indices and (N, 3) colours; a header of 12 bytes is that of OS/2, whose colours have three bytes."""
    height, width = indices.shape
    rows = np.packbits(_bits(indices[::-1], bits), axis=1)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    if header > 12:
        info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, 0, rows.size, 0, 0, used, 0)
    colours = palette[:, ::-1].astype(np.uint8)
    info = info.ljust(header, b"\0") + (colours if header == 12 else np.pad(colours, ((0, 0), (0, 1)))).tobytes()
    return struct.pack("<2sIHHI", b"BM", 14 + len(info) + rows.size, 0, 0, 14 + len(info)) + info + rows.tobytes()


def tiff(
    samples: np.ndarray,
    bits: int,
    photometric: int,
    *,
    tags: Mapping[int, Sequence[int]] | None = None,
    planes: bool = False,
    tiled: bool = False,
    order: str = "<",
) -> bytes:
    """(H, W, channels) unsigned samples, uncompressed. `tags` replace those that follow from the arguments."""
    height, width, channels = samples.shape
    parts = [samples[..., c : c + 1] for c in range(channels)] if planes else [samples]
    blocks = []
    for part in parts:
        if tiled:
            padded = np.pad(part, ((0, -height % 16), (0, -width % 16), (0, 0)))
            tiles = [padded[y : y + 16, x : x + 16] for y in range(0, height, 16) for x in range(0, width, 16)]
        else:
            tiles = [part[y : y + 8] for y in range(0, height, 8)]
        for tile in tiles:
            rows = tile.reshape(len(tile), -1)
            data = np.packbits(_bits(rows, bits), axis=1) if bits < 8 else rows.astype(f"{order}u{bits // 8}")
            blocks.append(data.tobytes())
    starts = [8 + sum(map(len, blocks[:index])) for index in range(len(blocks))]
    own: dict[int, Sequence[int]] = {
        256: [width],
        257: [height],
        258: [bits] * channels,
        259: [1],
        262: [photometric],
        277: [channels],
        284: [2 if planes else 1],
    }
    sizes = [len(block) for block in blocks]
    own |= {322: [16], 323: [16], 324: starts, 325: sizes} if tiled else {278: [8], 273: starts, 279: sizes}
    own |= {530: [1, 1]} if photometric == 6 else {}  # not subsampled
    own |= tags or {}
    body = b"".join(blocks)
    entries, behind = b"", b""
    end = 8 + len(body) + 2 + 12 * len(own) + 4
    for tag in sorted(own):
        values = own[tag]
        long = tag in (273, 279, 324, 325)
        raw = struct.pack(f"{order}{len(values)}{'I' if long else 'H'}", *values)
        entries += struct.pack(f"{order}HHI", tag, 4 if long else 3, len(values))
        if len(raw) <= 4:
            entries += raw.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", end + len(behind))
            behind += raw + bytes(len(raw) % 2)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body))
    return start + body + struct.pack(f"{order}H", len(own)) + entries + bytes(4) + behind


def png(
    samples: np.ndarray,
    bits: int,
    colour: int,
    *,
    chunks: Sequence[tuple[bytes, bytes]] = (),
    methods: bytes = bytes(3),
) -> bytes:
    """(H, W, channels) samples; `chunks` stand between IHDR and IDAT. `methods`: compression, filter, interlace."""
    height, width, _ = samples.shape
    rows = samples.reshape(height, -1)
    data = rows.astype(">u2").view(np.uint8) if bits == 16 else np.packbits(_bits(rows, bits), axis=1)
    lines = np.pad(data.reshape(height, -1), ((0, 0), (1, 0))).tobytes()
    ihdr = struct.pack(">IIBB", width, height, bits, colour) + methods
    whole = [(b"IHDR", ihdr), *chunks, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, content) for kind, content in whole if content is not None)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def gif(
    indices: np.ndarray,
    palette: np.ndarray | None,
    *,
    screen: tuple[int, int] | None = None,
    at: tuple[int, int] = (0, 0),
    background: int = 0,
    local: bool = False,
    code_bits: int = 2,
) -> bytes:
    """(H, W) indices and (2 or 4, 3) colours; `screen` is its width and height, `at` the picture's left and top."""
    height, width = indices.shape
    colours = b"" if palette is None else palette.astype(np.uint8).tobytes()
    flags = 0 if palette is None else 0x80 | len(palette) // 2 - 1
    out = b"GIF89a" + struct.pack("<HHBBB", *(screen or (width, height)), 0 if local else flags, background, 0)
    out += (b"" if local else colours) + b"," + struct.pack("<HHHHB", *at, width, height, flags if local else 0)
    out += colours if local else b""
    clear, value, length = 1 << code_bits, 0, 0
    codes: list[int] = []
    for index in indices.ravel().tolist():  # a clear before each code keeps all codes of one length
        codes += [clear, index]
    for code in [*codes, clear + 1]:
        value |= code << length
        length += code_bits + 1
    data = value.to_bytes((length + 7) // 8, "little")
    blocks = [data[i : i + 255] for i in range(0, len(data), 255)]
    return out + bytes([code_bits]) + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0;"


def _bits(values: np.ndarray, bits: int) -> np.ndarray:
    """(H, N) values to (H, N * bits) single bits, the highest first."""
    places = np.arange(bits - 1, -1, -1)
    return ((values[..., None] >> places) & 1).astype(np.uint8).reshape(len(values), -1)

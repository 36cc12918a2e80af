"""What the first directory of a TIFF says, and which TIFFs are read: those that OpenCV decodes rightly.

OpenCV decodes less than libtiff does (no tiles but of four channels; gray of 2 and 4 bits and palettes of 2 as
`pipeline.datasets.packed_tiffs` gives them to it), and some layouts wrongly without a word, such as planes of gray with
other samples beside it. What is accepted here was compared with files made sample by sample. Pillow accepts a third
set: it opens layouts that OpenCV cannot decode, such as gray of 4 bits in tiles, and not some that it can, such as gray
with three samples beside it.
"""

from __future__ import annotations

from typing import BinaryIO

from pipeline.datasets.header_fields import XMP_TAG, HeaderError, Mode, Parsed, orientation_by_tags, tiff_tags

_MODES: dict[int, Mode] = {0: "gray", 1: "gray", 2: "rgb", 3: "palette", 5: "cmyk", 6: "rgb"}  # by photometric
_COMPRESSIONS = frozenset({1, 2, 3, 4, 5, 7, 8, 32773, 32946})  # none, three faxes, LZW, JPEG, deflate, runs, deflate
_OF_BYTES = frozenset({1, 5, 8, 32773, 32946})
"""Of pixels that share bytes: those that compress bytes, whatever they mean."""
_LARGEST_TILE = 1 << 24  # px


def parse_tiff(file: BinaryIO) -> Parsed:
    """The first page of a TIFF.

    Raises:
        HeaderCutOffError: the file ends inside its directory.
        HeaderError: it is of a kind that is not read.
    """
    tags = tiff_tags(file)

    def first(tag: int, default: int) -> int:
        return int(tags[tag][0]) if tag in tags else default

    width, height = first(256, 0), first(257, 0)
    bits, channels, photometric = first(258, 1), first(277, 1), first(262, -1)
    tiled = 322 in tags
    if first(322, 1) * first(323, 1) > max(width * height, _LARGEST_TILE):
        raise HeaderError("its tiles are much larger than the image")
    in_planes = channels > 1 and first(284, 1) == 2
    uneven = 258 in tags and len(set(tags[258].tolist())) > 1
    kind = _kind(bits, channels, photometric, in_planes, tiled)
    if not kind or first(339, 1) != 1 or uneven:
        raise HeaderError(
            f"it is a TIFF of {channels} channel{'s' * (channels != 1)} of {bits} bits, photometric interpretation "
            f"{photometric}, {'in planes, ' * in_planes}{'in tiles, ' * tiled}which cannot be read"
        )
    if first(259, 1) not in _COMPRESSIONS:
        raise HeaderError(f"it is a TIFF of compression {first(259, 1)}, which cannot be read")
    if (324 if tiled else 273) not in tags:
        raise HeaderError("it does not say where its pixels are")
    of_bytes = first(259, 1) in _OF_BYTES and first(317, 1) == 1 and len(tags.get(258, ())) == 1
    if is_packed(bits, photometric) and not of_bytes:
        raise HeaderError(
            f"it is a TIFF of {bits} bits, of compression {first(259, 1)} with predictor {first(317, 1)}, which cannot "
            "be read"
        )
    if photometric == 3 and len(tags.get(320, ())) < 3 << bits:
        raise HeaderError("its palette is missing or too short")
    alpha = channels == (2 if _MODES[photometric] == "gray" else 4) and photometric in (0, 1, 2)
    mode: Mode = "16bit" if bits == 16 else "alpha" if alpha else _MODES[photometric]
    xmp = tags[XMP_TAG].tobytes() if XMP_TAG in tags else None
    return width, height, orientation_by_tags(tags, xmp), mode


def is_packed(bits: int, photometric: int) -> bool:
    """Whether pixels of a channel share bytes, in a way that OpenCV does not decode."""
    return photometric in {2: (0, 1, 3), 4: (0, 1)}.get(bits, ())


def _kind(bits: int, channels: int, photometric: int, in_planes: bool, tiled: bool) -> bool:
    """Whether pixels of this kind are read."""
    if tiled:
        return channels == 4 and not in_planes and (photometric, bits) in ((2, 8), (2, 16), (5, 8))
    if is_packed(bits, photometric):
        return channels == 1
    match photometric:
        case 0 | 1:
            return (bits in (8, 16) and channels <= 4 and not in_planes) or (bits == 1 and channels == 1)
        case 2:
            return bits in (8, 16) and channels in (3, 4)
        case 3:
            return (bits == 8 and channels <= 4 and not in_planes) or (bits in (1, 4) and channels == 1)
        case 5:
            return bits == 8 and channels == 4
        case 6:
            return bits == 8 and channels == 3
    return False

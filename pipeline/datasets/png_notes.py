"""What a PNG notes beside its pixels that says how to turn it: a block of EXIF, ImageMagick's text of one, and XMP."""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import BinaryIO

from pipeline.datasets.header_fields import MAX_XMP, Orientation, orientation_of, take

_XMP, _RAW_EXIF = b"XML:com.adobe.xmp", b"Raw profile type exif"
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_LONGEST_NAME = max(len(_XMP), len(_RAW_EXIF))


class PngNotes:
    """The notes of one file; of several of a kind the last counts, as in Pillow."""

    def __init__(self) -> None:
        self._exif: bytes | None = None
        self._texts: dict[bytes, bytes] = {}

    def read(self, kind: bytes, length: int, file: BinaryIO) -> None:
        """Take a chunk whose content `file` is at.

        Raises:
            HeaderCutOffError: the file ends inside it.
        """
        if kind == b"eXIf" and length <= MAX_XMP:
            self._exif = take(file, length)
        elif kind in _TEXTS and length > _LONGEST_NAME:
            name, found, rest = take(file, _LONGEST_NAME + 1).partition(b"\0")
            if found and name in (_XMP, _RAW_EXIF):
                left = min(length, MAX_XMP) - _LONGEST_NAME - 1
                with suppress(ValueError, IndexError, zlib.error):  # a broken note is none
                    self._texts[name] = _text(kind, rest + take(file, left))

    def orientation(self) -> Orientation:
        """What they say together."""
        exif = self._exif
        if exif is None and _RAW_EXIF in self._texts:
            # Three lines before the hexadecimal digits: none, the kind and the length.
            with suppress(ValueError):
                exif = bytes.fromhex(b"".join(self._texts[_RAW_EXIF].split(b"\n")[3:]).decode("latin-1"))
        return orientation_of(exif, self._texts.get(_XMP))


def _text(kind: bytes, content: bytes) -> bytes:
    """What a chunk of text holds behind its name."""
    packed = kind == b"zTXt"
    if kind == b"iTXt":
        packed = content[0] != 0
        content = content[1:2] + content[2:].split(b"\0", 2)[2]
    elif not packed:
        return content
    if not packed:
        return content[1:]
    if content[0]:
        raise ValueError("a method of compression that PNG does not have")
    return zlib.decompressobj().decompress(content[1:], MAX_XMP)

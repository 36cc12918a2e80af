"""Whether an image file holds all its bytes: decoders fill what is missing with gray, and some say nothing.

The end is found from the lengths that the file itself tells, so nothing is decoded and little is read. A file whose
bytes are all there can still be damaged inside. Pillow reports a missing end only while it decodes, which
takes some fifty times as long.
"""

from __future__ import annotations

import os
import re
from typing import BinaryIO

from pipeline.datasets.bitmaps import read_bitmap
from pipeline.datasets.header_fields import HeaderCutOffError, take, tiff_tags
from pipeline.datasets.image_headers import Format, gif_blocks, jpeg_segments, png_chunks

_BLOCK = 1 << 20  # bytes read at once
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in a scan, 0xff is data with 0x00 after it, or a restart


def what_is_missing(file: BinaryIO, form: Format) -> str:
    """What a file of a sound header and this format lacks at its end, "" where it is complete.

    Raises:
        HeaderError: the header is not sound.
    """
    size = file.seek(0, os.SEEK_END)
    try:
        match form:
            case "jpeg":
                return "" if _jpeg_has_end(file, size) else "it has no end marker"
            case "png":
                _walk_png(file, size)
            case "bmp":
                bitmap = read_bitmap(file)
                return _short(size, bitmap.offset + bitmap.size)
            case "webp":
                file.seek(4)
                return _short(size, 8 + int.from_bytes(take(file, 4), "little"))
            case "tiff":
                return _short(size, _end_of_tiff(file))
            case "gif":
                for _ in gif_blocks(file):
                    pass
    except HeaderCutOffError:
        return "it ends before its last part"
    return ""


def _short(size: int, needed: int) -> str:
    return f"it has {size} of {needed} bytes" if size < needed else ""


def _jpeg_has_end(file: BinaryIO, size: int) -> bool:
    position = _start_of_scan(file)
    file.seek(max(position, size - 2))
    if file.read(2) == b"\xff\xd9":  # else there may be something behind the image, such as a film
        return True
    while position < size:
        file.seek(position)
        block = file.read(_BLOCK)
        at = 0
        while at < len(block):
            found = _MARKER.search(block, at)
            if found is None:
                at = len(block)
                if block.endswith(b"\xff") and position + at < size:
                    at -= 1  # the marker's second byte is in the next block
                break
            if block[found.start() + 1] == 0xD9:
                return True
            at = found.end()
            if block[at - 1] != 0x01:  # tables between the scans of a progressive JPEG; 0x01 has no content
                file.seek(position + at)
                at += max(2, int.from_bytes(file.read(2), "big"))
        position += at
    return False


def _start_of_scan(file: BinaryIO) -> int:
    for marker, length in jpeg_segments(file):
        if marker == 0xDA:
            return file.tell() + length
    raise HeaderCutOffError("it ends before its first scan")


def _walk_png(file: BinaryIO, size: int) -> None:
    for _, length in png_chunks(file):
        if file.tell() + length + 4 > size:  # the checksum stands behind the content
            raise HeaderCutOffError("it ends inside a chunk")


def _end_of_tiff(file: BinaryIO) -> int:
    """The end of the last strip or tile."""
    tags = tiff_tags(file)
    end = 0
    for offsets, counts in ((273, 279), (324, 325)):
        if offsets in tags and counts in tags:
            pairs = zip(tags[offsets].tolist(), tags[counts].tolist(), strict=False)
            end = max([end, *(offset + count for offset, count in pairs)])
    return end

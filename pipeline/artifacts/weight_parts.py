"""Where each part of a network lies in a safetensors file, read from its header alone; no torch.

The file begins with the length of the header, 8 bytes, and the header, JSON: of each tensor its name, dtype, shape and
the place of its bytes after the header.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

HEADER = ""
"""The name that the header has among the parts."""

_LENGTH = 8
_AT_ONCE = 1 << 20


def part_of(name: str) -> str:
    """The part that a tensor belongs to: what stands before the first dot of its name."""
    return name.partition(".")[0]


def hash_parts(path: Path, parts: tuple[str, ...] | None = None) -> Mapping[str, str]:
    """SHA-256 of the header, under `HEADER`, and of the bytes of each part in the order of the file; sorted by name.

    Args:
        parts: the parts to read; None: all. No others are.

    Raises:
        ValueError: the header is none.
    """
    with open(path, "rb") as file:
        header = _header(file, path)
        hashes = {HEADER: hashlib.sha256(header)}
        for start, end, part in _places(header[_LENGTH:]):
            if parts is None or part in parts:
                file.seek(len(header) + start)
                _feed(hashes.setdefault(part, hashlib.sha256()), file, end - start)
    return {part: own.hexdigest() for part, own in sorted(hashes.items())}


def count_weights(path: Path, part: str) -> int:
    """How many numbers the tensors of a part hold.

    Raises:
        ValueError: the header is none.
    """
    with open(path, "rb") as file:
        header = _header(file, path)[_LENGTH:]
    try:
        tensors = {name: tensor for name, tensor in json.loads(header).items() if part_of(name) == part}
        return sum(math.prod(map(int, tensor["shape"])) for tensor in tensors.values())
    except (AttributeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("the header gives no shapes") from error


def _header(file: BinaryIO, path: Path) -> bytes:
    """The header of an open file with its length before it."""
    length = file.read(_LENGTH)
    size = int.from_bytes(length, "little")
    if len(length) < _LENGTH or size > path.stat().st_size - _LENGTH:
        raise ValueError("the header is cut off")
    return length + file.read(size)


def _places(header: bytes) -> list[tuple[int, int, str]]:
    """First byte, end and part of every tensor, in the order of the file."""
    try:
        tensors = {name: tensor for name, tensor in json.loads(header).items() if name != "__metadata__"}
        spans = {
            name: (int(tensor["data_offsets"][0]), int(tensor["data_offsets"][1])) for name, tensor in tensors.items()
        }
        return sorted((start, end, part_of(name)) for name, (start, end) in spans.items() if 0 <= start <= end)
    except (AttributeError, IndexError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("the header gives no places") from error


def _feed(sha256: hashlib._Hash, file: BinaryIO, size: int) -> None:
    while size > 0 and (content := file.read(min(size, _AT_ONCE))):
        sha256.update(content)
        size -= len(content)

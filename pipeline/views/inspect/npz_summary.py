"""Summaries of npz shards, from the members' headers only: no array is read."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.views.inspect.text import size_text, table_lines

# A local header and a member's name, then NumPy's header, which is padded to 64 bytes.
_HEAD = 1024
_MAGIC = b"\x93NUMPY"

Layout = tuple[str, tuple[int, ...]]
"""dtype and shape of a member."""


def npz_lines(name: str, paths: Sequence[Path]) -> Iterator[str]:
    """The lines on the shards of one prefix: members, bytes, dtypes and the range of each side of their shapes.

    Args:
        name: what to call them, `bg-*.npz`.
        paths: the shards.

    Raises:
        InputError: a shard is not an npz file.
    """
    layouts: list[Layout] = []
    for path in paths:
        layouts += layouts_of(path).values()
    total = sum(path.stat().st_size for path in paths)
    yield f"{name}: {count_text(len(paths), 'shard')}, {count_text(len(layouts), 'member')}, {size_text(total)}"
    groups: dict[tuple[str, int], list[tuple[int, ...]]] = {}
    for dtype, shape in layouts:
        groups.setdefault((dtype, len(shape)), []).append(shape)
    rows = [(dtype, _sides(shapes), count_text(len(shapes), "array")) for (dtype, _), shapes in sorted(groups.items())]
    yield from table_lines(rows)


def layouts_of(path: Path) -> dict[str, Layout]:
    """dtype and shape of each member of a shard, by its name.

    Raises:
        InputError: it is not an npz file, or a member is not an array.
    """
    known: dict[bytes, Layout] = {}
    layouts = {}
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
            for info in archive.infolist():
                head = os.pread(file.fileno(), _HEAD, info.header_offset)
                start = head.index(_MAGIC)
                header = head[start : start + 10 + int.from_bytes(head[start + 8 : start + 10], "little")]
                if header not in known:
                    known[header] = _layout(header)
                layouts[info.filename.removesuffix(".npy")] = known[header]
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable npz shard ({error}); dvc repro {path.parent.name}") from error
    return layouts


def _layout(header: bytes) -> Layout:
    stream = io.BytesIO(header)
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return str(dtype), tuple(shape)


def _sides(shapes: Sequence[tuple[int, ...]]) -> str:
    """(3, 20..37, 32) for shapes that differ in one side."""
    ends = [(min(side), max(side)) for side in zip(*shapes, strict=True)]
    return f"({', '.join(str(low) if low == high else f'{low}..{high}' for low, high in ends)})"

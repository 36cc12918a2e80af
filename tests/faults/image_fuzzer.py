"""Read mutated image files under a limit of memory: python -m tests.faults.image_fuzzer SEED FIRST COUNT FOLDER.

Each case ends in pixels or `InputError`, or the process fails; see tests/faults/limits.py.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.datasets.images import probe, problems_of, read_rgb
from pipeline.runtime.errors import InputError
from tests.datasets.image_files import samples
from tests.faults.limits import begin, limit_memory, peak

_MORE_MEMORY = 512 << 20  # bytes of address space beyond that of the imported libraries
_MAX_PIXELS = 1 << 22
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """An index into the data, half of the time in what is likely its header."""
    return int(rng.integers(min(len(data), 64 if rng.random() < 0.5 else len(data))))


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    data[_place(data, rng)] ^= 1 << int(rng.integers(8))


def _overwrite(data: bytearray, rng: np.random.Generator) -> None:
    data[_place(data, rng)] = int(rng.integers(256))


def _extreme(data: bytearray, rng: np.random.Generator) -> None:
    at, width = _place(data, rng), int(rng.choice([1, 2, 4]))
    order = "<" if rng.random() < 0.5 else ">"
    value = int(rng.choice(_EXTREMES)) & (1 << 8 * width) - 1
    data[at : at + width] = struct.pack(order + {1: "B", 2: "H", 4: "I"}[width], value)


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[_place(data, rng) + 1 :]


def _delete(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    del data[max(1, at) : at + int(rng.integers(1, 32))]


def _insert(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    data[at:at] = rng.bytes(int(rng.integers(1, 32)))


def _repeat(data: bytearray, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    data[at:at] = data[at : at + int(rng.integers(1, 256))] * int(rng.integers(1, 8))


_MUTATIONS: tuple[Callable[[bytearray, np.random.Generator], None], ...]
_MUTATIONS = (_flip, _overwrite, _extreme, _cut, _delete, _insert, _repeat)


def _with_checksums(data: bytearray) -> None:
    """Give the chunks of a PNG their checksums again, so that a reader gets past them."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            return
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4


def mutate(files: list[bytes], seed: int, case: int) -> bytes:
    """The file of a case: one of `files` with up to four mutations."""
    rng = np.random.default_rng([seed, case])
    data = bytearray(files[int(rng.integers(len(files)))])
    for _ in range(int(rng.integers(1, 5))):
        _MUTATIONS[int(rng.integers(len(_MUTATIONS)))](data, rng)
    if data.startswith(b"\x89PNG") and rng.random() < 0.7:
        _with_checksums(data)
    return bytes(data)


def check(path: Path) -> bool:
    """Whether the file was read; raises where it was read wrongly or failed in another way than it may."""
    refused = {problem.kind for problem in problems_of(path, _MAX_PIXELS)} & {"undecodable", "truncated", "too_large"}
    try:
        header = probe(path)
        pixels = read_rgb(path, _MAX_PIXELS)
    except InputError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error), error
        return False
    assert pixels.dtype == np.uint8 and pixels.shape == (header.height, header.width, 3)
    assert not refused, refused
    poison = [np.full(pixels.nbytes, value, np.uint8) for value in (0xAA, 0x55)]
    del poison  # a decoder that leaves part of its memory as it found it would show this
    assert (read_rgb(path, _MAX_PIXELS) == pixels).all()
    return True


def main(seed: int, first: int, count: int, folder: Path) -> None:
    """Check the cases first to first + count - 1."""
    limit_memory(_MORE_MEMORY)
    files = list(samples().values())
    path = folder / "image"
    read = 0
    for case in range(first, first + count):
        begin(case)
        path.write_bytes(mutate(files, seed, case))
        read += check(path)
    print(f"{read} of {count} were read, peak {peak() >> 20} MB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), Path(sys.argv[4]))

"""Dense arrays in uncompressed npz shards, one member an image, so that a reader finds one by offset.

`numpy.load` opens a shard as usual. Readers here read single members with `pread` instead of mapping whole files, so
that resident memory does not grow with the pages touched. What is read of a member is checked,
its header and its data.
"""

from __future__ import annotations

import io
import os
import struct
import weakref
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from pipeline.artifacts.atomic import atomic_file
from pipeline.runtime.errors import InputError

IMAGES_PER_SHARD = 64
"""At most; see `images_per_shard`."""

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_BOTH_SIZES = struct.Struct("<HHQQ")  # the extra field that zip64 has for them
_IN_EXTRA_FIELD = 0xFFFFFFFF
_UTF8 = 0x800  # the flag of a name in UTF-8


def shard_name(prefix: str, index: int) -> str:
    """The file name of a shard."""
    return f"{prefix}-{index:05d}.npz"


def images_per_shard(images: int) -> int:
    """How many images of a stage that has so many a shard holds: 64, and of fewer than 4,096 a 64th, but at least 16.

    Whole shards are shared out among processes, and a handful of them would leave some idle.
    """
    return min(IMAGES_PER_SHARD, max(16, -(-images // 64)))


@contextmanager
def open_shard(path: Path) -> Iterator[Callable[[Mapping[str, np.ndarray]], None]]:
    """Yield a function that appends members to a shard, which appears under its name when the block ends without error.

    Members carry a fixed date, so equal arrays give equal bytes.
    """
    with (
        atomic_file(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        yield partial(_append, archive)


def _append(archive: zipfile.ZipFile, members: Mapping[str, np.ndarray]) -> None:
    for name, array in members.items():
        with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
            np.lib.format.write_array(file, _dense(array), allow_pickle=False)


def _dense(array: np.ndarray) -> np.ndarray:
    """Without gaps, in C's order or, where it lies in that, in Fortran's, which NumPy notes in the file."""
    return array if array.flags.f_contiguous else np.ascontiguousarray(array)


class ShardWriter:
    """Writes `PREFIX-00000.npz`, `PREFIX-00001.npz`, ... with up to `images_per_shard` images each, each
    shard atomic."""

    def __init__(self, folder: Path, prefix: str, images_per_shard: int = IMAGES_PER_SHARD) -> None:
        self._folder = Path(folder)
        self._prefix = prefix
        self._images_per_shard = images_per_shard
        self._images = 0
        self._members: dict[str, np.ndarray] = {}
        self._shard = 0

    def __enter__(self) -> ShardWriter:
        return self

    def add(self, members: dict[str, np.ndarray]) -> str:
        """Append one image's members and return the file name of the shard that will hold them."""
        name = shard_name(self._prefix, self._shard)
        self._members.update(members)
        self._images += 1
        if self._images == self._images_per_shard:
            self._flush()
        return name

    def _flush(self) -> None:
        if not self._members:
            return
        with open_shard(self._folder / shard_name(self._prefix, self._shard)) as append:
            append(self._members)
        self._members, self._images, self._shard = {}, 0, self._shard + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()


class ShardReader:
    """Reads single members of the shards in a folder.

    Raises:
        InputError: a shard is missing or damaged, or a member is not in it.
    """

    def __init__(self, folder: Path, open_shards: int = 64) -> None:
        self._folder = Path(folder)
        self._open: OrderedDict[str, _OpenShard] = OrderedDict()
        self._open_shards = open_shards

    def read(self, shard: str, member: str) -> np.ndarray:
        """One member of one shard, as a new array."""
        if shard not in self._open:
            self._open[shard] = _OpenShard(self._folder / shard)
            if len(self._open) > self._open_shards:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(shard)
        return self._open[shard].read(member)


class _OpenShard:
    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise InputError(f"{path}: no such shard; {self._remedy()}")
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = {info.filename: info for info in archive.infolist()}
            if any(not 0 <= m.header_offset <= path.stat().st_size - m.file_size for m in self._members.values()):
                raise zipfile.BadZipFile("a member lies outside of the file")
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise InputError(f"{path}: not a readable npz shard ({error}); {self._remedy()}") from error
        self._descriptor = os.open(path, os.O_RDONLY)
        self.close = weakref.finalize(self, os.close, self._descriptor)

    def _remedy(self) -> str:
        return f"rerun the stage that writes it (dvc repro {self._path.parent.name})"

    def read(self, member: str) -> np.ndarray:
        info = self._members.get(f"{member}.npy")
        if info is None:
            raise InputError(f"{self._path}: no member {member!r}; {self._remedy()}")
        header = os.pread(self._descriptor, _LOCAL_HEADER.size, info.header_offset)
        name_and_extra = sum(struct.unpack_from("<2H", header, _LOCAL_HEADER.size - 4))
        header += os.pread(self._descriptor, name_and_extra, info.header_offset + len(header))
        data = os.pread(self._descriptor, info.file_size, info.header_offset + len(header))
        if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
            raise InputError(f"{self._path}: member {member!r} is damaged (checksum differs); {self._remedy()}")
        if not _agrees(header, info):
            raise InputError(f"{self._path}: member {member!r} is damaged (its header differs); {self._remedy()}")
        stream = io.BytesIO(data)
        try:
            layout = np.lib.format
            version = layout.read_magic(stream)
            read_header = layout.read_array_header_1_0 if version == (1, 0) else layout.read_array_header_2_0
            shape, fortran, dtype = read_header(stream)
        except ValueError as error:
            raise InputError(f"{self._path}: member {member!r} is not a NumPy array; {self._remedy()}") from error
        if dtype.hasobject:
            raise InputError(
                f"{self._path}: member {member!r} holds Python objects, which are refused; {self._remedy()}"
            )
        array = np.frombuffer(data, dtype=dtype, offset=stream.tell())
        return array.reshape(shape, order="F" if fortran else "C")


def _agrees(header: bytes, info: zipfile.ZipInfo) -> bool:
    """Whether the header before a member's data agrees with the shard's directory."""
    year, month, day, hour, minute, second = info.date_time
    name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437")
    header_fields = _LOCAL_HEADER.unpack_from(header)
    if header_fields[:7] != (
        b"PK\3\4",
        info.extract_version,
        info.flag_bits,
        info.compress_type,
        hour << 11 | minute << 5 | second // 2,
        year - 1980 << 9 | month << 5 | day,
        info.CRC,
    ):
        return False
    sizes = (info.compress_size, info.file_size)
    if any(own not in (size, _IN_EXTRA_FIELD) for own, size in zip(header_fields[7:9], sizes, strict=True)):
        return False
    extra = _BOTH_SIZES.pack(1, 16, info.file_size, info.compress_size)
    return header[_LOCAL_HEADER.size :] in (name + extra, name)

"""Work done in chunks of images, so that a stage killed at any instant resumes after the chunks that are complete.

A chunk is the images of one npz shard, up to 64, and their rows in every table. It is complete when its note is there,
in `.unfinished/` of the folder, which holds its files' sizes and checksums. At the end the tables are put together from
their parts, chunk by chunk, whether the stage was killed before or not, so that its folder is the same byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from pipeline.artifacts.atomic import UNFINISHED, has_key, write_text
from pipeline.artifacts.behind import Behind
from pipeline.artifacts.shards import images_per_shard, open_shard, shard_name
from pipeline.artifacts.tables import Columns, TableWriter, assemble_table, iterate_groups
from pipeline.runtime.repeatable import Repeatable
from pipeline.runtime.share import Share, ShareDone
from pipeline.runtime.stopping import stop_if_requested

Item = TypeVar("Item")

_AT_ONCE = 1 << 20
"""Bytes of small arrays that are written at once."""


class ChunkedWork:
    """One item of work an image; whole chunks of them outlive the process.

    Declare the tables and shards, then write each missing image's rows and arrays while going `through` them:

        with ChunkedWork(folder, ids) as work:
            rows, maps = work.table("images.parquet", schema), work.shards("maps")
            for image_id in work.through(work.missing):
                rows.write({"image_id": image_id, "shard": maps.add({image_id: array})})

    When the block ends without error, the folder holds the finished files only; with a key also the notes, until it is
    published.

    Args:
        folder: where to write; what it holds under notes was left by a run of the same key (see `atomic_folder`).
        ids: the images in the order of their rows.
        log: gets how many images were found done.
        images_per_chunk: images of a shard; by default `images_per_shard`.
        share: what this process does of the chunks, by default all. One of several processes leaves with `ShareDone`
            when no chunk is left; the stage's own process assembles the tables.
    """

    def __init__(
        self,
        folder: Path,
        ids: Sequence[str],
        log: Callable[[str], None] | None = None,
        images_per_chunk: int | None = None,
        share: Share | None = None,
    ) -> None:
        self._folder, self._notes = Path(folder), Path(folder) / UNFINISHED
        self._share = share or Share()
        self._notes.mkdir(parents=True, exist_ok=True)
        size = images_per_chunk or images_per_shard(len(ids))
        self._chunks = [list(ids[start : start + size]) for start in range(0, len(ids), size)]
        own = range(len(self._chunks))[self._share.number :: self._share.of]
        known = self._share.by_others() if self._share.by_others else set()  # their files need not be read again
        self._complete = {index for index in own if index in known or self._is_complete(index)}
        self._behind, self._unpublished = Behind(), list[_Part]()
        self._tables: dict[str, ChunkedTable] = {}
        self._shards: dict[str, ChunkedShards] = {}
        left = [index for index in own if index not in self._complete]
        self._left = Repeatable(self._share.turns.take(left) if self._share.turns else left)
        self.left = Repeatable(self._chunks[index] for index in self._left)
        """The images of each chunk that is not complete. One of several processes takes a chunk when it gets to it."""
        self.missing = Repeatable(image_id for chunk in self.left for image_id in chunk)
        """The same images, chunk after chunk."""
        self.found = sum(len(self._chunks[index]) for index in self._complete)
        """How many images were found done."""
        if self.found and not known and log is not None:
            log(resumes_after(self.found, len(ids)))

    def table(self, name: str, schema: pa.Schema) -> ChunkedTable:
        """A table that gets rows of every image; to declare before the first image."""
        return self._tables.setdefault(name, ChunkedTable(self._folder, name, schema, len(self._chunks)))

    def shards(self, prefix: str) -> ChunkedShards:
        """Shards that get arrays of every image; to declare before the first image."""
        return self._shards.setdefault(prefix, ChunkedShards(self._folder, prefix, self._behind))

    def __enter__(self) -> ChunkedWork:
        return self

    def through(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield an item for each missing image; its rows and arrays are to be written before the next is asked for.

        A chunk is completed in a thread, while the images of the next are computed.
        """
        given, behind = iter(items), self._behind
        last: Future[None] | None = None
        for index in self._left:
            self._share.at, ids = index, self._chunks[index]
            tables, shards = self._tables.values(), self._shards.values()
            parts = [*(table.begin(index) for table in tables), *(shard.begin(index) for shard in shards)]
            self._unpublished += parts
            for _ in ids:
                stop_if_requested()  # a library may have dropped the exception
                yield next(given)
            for own in shards:
                own.flush()
            if last is not None:
                last.result()
            last = behind.run(partial(self._end_chunk, index, parts))
        behind.wait()
        for _ in given:
            raise ValueError("more items than images")
        if self._share.is_part:
            raise ShareDone(self._complete)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._behind.close()
        if kind is not None:
            for part in self._unpublished:
                with suppress(OSError):  # its end cannot be written where the disk is full
                    part.abandon(kind, error, trace)
            return
        if len(self._complete) < len(self._chunks):
            raise ValueError("images are left; go through all of them")
        for table in self._tables.values():
            table.assemble()
        # One with a key can be resumed until it is published, which removes the notes.
        if not has_key(self._folder):
            shutil.rmtree(self._notes)

    def _end_chunk(self, index: int, parts: Sequence[_Part]) -> None:
        for part in parts:
            part.publish()
            self._unpublished.remove(part)
        records = {str(part.path.relative_to(self._folder)): _size_and_sha256(part.path) for part in parts}
        write_text(self._note(index), json.dumps({"images": self._chunks[index], "files": records}))
        self._complete.add(index)

    def _note(self, index: int) -> Path:
        return self._notes / f"chunk-{index:05d}.json"

    def _is_complete(self, index: int) -> bool:
        try:
            note = json.loads(self._note(index).read_text(encoding="utf-8"))
            return note["images"] == self._chunks[index] and all(
                _is_sound(self._folder / name, record) for name, record in note["files"].items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False


class ChunkedTable:
    """A table, written as one part a chunk. Get it from `ChunkedWork.table`."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema, chunks: int) -> None:
        self._path, self._schema = folder / name, schema
        self._parts = [folder / UNFINISHED / f"{self._path.stem}-{index:05d}.parquet" for index in range(chunks)]
        self._part: _Rows | None = None
        self.rows = 0
        """How many there are in all, when the work is finished."""

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append rows of the image at hand, as `TableWriter.write` does."""
        assert self._part is not None, "write while going through the images"
        self._part.writer.write(columns)

    def groups(self) -> Iterator[Columns]:
        """All rows, when every chunk is complete, some images at a time."""
        for part in self._parts:
            yield from iterate_groups(part, self._schema)

    def begin(self, index: int) -> _Part:
        """Open the part of a chunk."""
        self._part = _Rows(self._parts[index], self._schema)
        return self._part

    def assemble(self) -> None:
        """Write the table from its parts."""
        self.rows = assemble_table(self._path, self._schema, self._parts)


class ChunkedShards:
    """npz shards, one a chunk, written member by member. Get them from `ChunkedWork.shards`."""

    def __init__(self, folder: Path, prefix: str, behind: Behind) -> None:
        self._folder, self._prefix, self._behind = folder, prefix, behind
        self._part: _Members | None = None
        self._held: dict[str, np.ndarray] = {}

    def add(self, members: Mapping[str, np.ndarray]) -> str:
        """Append members of the image at hand and return the file name of the shard that will hold them.

        They are written in a thread, and must not be modified afterwards.
        """
        assert self._part is not None, "add while going through the images"
        self._held.update(members)
        if _bytes_of(self._held) >= _AT_ONCE:
            self.flush()
        return self._part.path.name

    def flush(self) -> None:
        """Have written what was added. Small arrays are handed over together, as a step of the thread has its price."""
        if self._part is not None and self._held:
            self._behind.run(partial(self._part.add, self._held), _bytes_of(self._held))
            self._held = {}

    def begin(self, index: int) -> _Part:
        """Start the shard of a chunk."""
        self._part, self._held = _Members(self._folder / shard_name(self._prefix, index)), {}
        return self._part


class _Part(Protocol):
    """A file that a chunk is made of."""

    path: Path

    def publish(self) -> None:
        """Give it its name."""

    def abandon(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what is written of it."""


class _Rows:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.writer = path, TableWriter(path, schema).__enter__()

    def publish(self) -> None:
        self.writer.__exit__(None, None, None)

    def abandon(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.__exit__(kind, error, trace)


class _Members:
    """All but `abandon` is called in the thread that writes."""

    def __init__(self, path: Path) -> None:
        self.path, self._opened = path, ExitStack()
        self._append: Callable[[Mapping[str, np.ndarray]], None] | None = None

    def add(self, members: Mapping[str, np.ndarray]) -> None:
        if self._append is None:
            self._append = self._opened.enter_context(open_shard(self.path))
        self._append(members)

    def publish(self) -> None:
        self.add({})  # a shard without members is written, too
        self._opened.close()

    def abandon(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)


def resumes_after(found: int, images: int) -> str:
    """The line that reports how many images an earlier run has completed."""
    return f"resumes after {found} of {images} images"


def _bytes_of(members: Mapping[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in members.values())


def _size_and_sha256(path: Path) -> list[int | str]:
    """Size and SHA-256 of a file."""
    with open(path, "rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]


def _is_sound(path: Path, record: list[int | str]) -> bool:
    return path.stat().st_size == record[0] and _size_and_sha256(path) == record

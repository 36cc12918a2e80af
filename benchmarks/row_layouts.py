"""Five layouts of proposals and proposal targets on the disk, and what reading them costs this process.

    python -m benchmarks.row_layouts LAYOUT TABLE FOLDER IMAGES

reads what `LAYOUTS` wrote, and prints its costs as JSON. Imports no torch. See `rows_by_offset`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.fields import SCHEMA_VERSION
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.plain_chunks import INDEXED
from pipeline.artifacts.proposal_targets import PROPOSAL_TARGETS
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.shards import IMAGES_PER_SHARD, ShardReader, ShardWriter
from pipeline.artifacts.tables import Columns, TableWriter, box_columns

SCHEMAS = {"proposals": PROPOSALS, "proposal targets": PROPOSAL_TARGETS}
VIEWS, RUNS = 2, 3
_DIFFERENT = 64  # views that are drawn; more than a row group holds, so that compression finds none again

Read = Callable[[int], Columns]


def columns_of(name: str, count: int, seed: int) -> Columns:
    """What a view's rows are like: most RoIs are background, which has no deltas."""
    draw = np.random.default_rng(seed)
    corners = draw.uniform(0, 500, (2, count, 2)).astype(np.float32)
    sorted_corners = np.concatenate([corners.min(axis=0), corners.max(axis=0)], axis=1)
    boxes = {"rank": np.arange(count, dtype=np.int32), **box_columns(sorted_corners)}
    if name == "proposals":
        return boxes | {"score": np.sort(draw.random(count, dtype=np.float32))[::-1]}
    fg = draw.random(count) < 0.1
    deltas = np.where(fg, draw.normal(size=(4, count)), 0).astype(np.float32)
    return boxes | {
        "max_iou": np.where(draw.random(count) < 0.5, draw.random(count), 0).astype(np.float32),
        "matched_gt": draw.integers(0, 3, count).astype(np.int32),
        "label": np.where(fg, draw.integers(1, 21, count), 0).astype(np.int16),
        **dict(zip(("dx", "dy", "dw", "dh"), deltas, strict=True)),
    }


def views(name: str, images: int, count: int) -> Iterator[tuple[Entry, Columns]]:
    """Each view of each image, in the order of the table."""
    drawn = [columns_of(name, count, seed) for seed in range(_DIFFERENT)]
    for place in range(images * VIEWS):
        yield Entry(f"{place // VIEWS:06d}", place % VIEWS), drawn[place % _DIFFERENT]


def write_plain(folder: Path, name: str, images: int, count: int) -> None:
    """As the stages do."""
    _write_table(folder, SCHEMAS[name], views(name, images, count))


def write_compressed(folder: Path, name: str, images: int, count: int) -> None:
    """In row groups of 65,536 rows, compressed, as most tables are."""
    schema = SCHEMAS[name].with_metadata({"schema_version": SCHEMA_VERSION})
    _write_table(folder, schema, views(name, images, count))


def _write_table(folder: Path, schema: pa.Schema, content: Iterator[tuple[Entry, Columns]]) -> None:
    with TableWriter(folder / "table.parquet", schema) as table:
        for entry, columns in content:
            table.write({**entry.columns, **columns})


def read_table(folder: Path, name: str) -> Read:
    rows = ImageRows(folder / "table.parquet", SCHEMAS[name])
    return lambda place: rows[f"{place // VIEWS:06d}", place % VIEWS]


def write_small_groups(folder: Path, name: str, images: int, count: int) -> None:
    """Compressed, a row group a view."""
    schema = SCHEMAS[name]
    encoded = list(INDEXED)
    with pq.ParquetWriter(
        folder / "table.parquet", schema, compression="zstd", use_dictionary=encoded, write_page_checksum=True
    ) as file:
        for entry, columns in views(name, images, count):
            file.write_table(_table(schema, {**entry.columns, **columns}, count))


def read_small_groups(folder: Path, name: str) -> Read:
    file = pq.ParquetFile(folder / "table.parquet", page_checksum_verification=True)
    names = [column for column in SCHEMAS[name].names if column not in INDEXED]

    def read(place: int) -> Columns:
        table = file.read_row_group(place, columns=names, use_threads=False)
        return {column: table.column(column).to_numpy() for column in names}

    return read


def write_arrow(folder: Path, name: str, images: int, count: int) -> None:
    """A file of Arrow's IPC, a record batch a view."""
    schema = _numbers(name)
    with pa.OSFile(str(folder / "table.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as file:
        for _, columns in views(name, images, count):
            file.write_table(_table(schema, columns, count))


def read_arrow(folder: Path, name: str) -> Read:
    file = pa.ipc.open_file(pa.memory_map(str(folder / "table.arrow")))
    names = _numbers(name).names

    def read(place: int) -> Columns:
        batch = file.get_batch(place)
        # A copy each, as the others return: what is only mapped has not been read yet.
        return {column: batch.column(column).to_numpy().copy() for column in names}

    return read


def write_members(folder: Path, name: str, images: int, count: int) -> None:
    """npz shards, a member a view, its columns one after another."""
    with ShardWriter(folder, "rows") as shards:
        of_image = {}
        for entry, columns in views(name, images, count):
            raw = [np.ascontiguousarray(columns[column]).view(np.uint8) for column in _numbers(name).names]
            of_image[entry.name] = np.concatenate(raw)
            if len(of_image) == VIEWS:
                shards.add(of_image)
                of_image = {}


def read_members(folder: Path, name: str) -> Read:
    shards, fields = ShardReader(folder), [(field.name, field.type.to_pandas_dtype()) for field in _numbers(name)]
    size = sum(np.dtype(kind).itemsize for _, kind in fields)
    files = sorted(path.name for path in folder.glob("rows-*.npz"))

    def read(place: int) -> Columns:
        entry = Entry(f"{place // VIEWS:06d}", place % VIEWS)
        raw = shards.read(files[place // VIEWS // IMAGES_PER_SHARD], entry.name)
        found, start, count = {}, 0, len(raw) // size
        for column, kind in fields:
            end = start + count * np.dtype(kind).itemsize
            found[column], start = raw[start:end].view(kind), end
        return found

    return read


Write = Callable[[Path, str, int, int], None]
Open = Callable[[Path, str], Read]
LAYOUTS: Mapping[str, tuple[Write, Open]] = {
    "Parquet, plain": (write_plain, read_table),
    "Parquet, groups of 65,536 rows": (write_compressed, read_table),
    "Parquet, a group a view": (write_small_groups, read_small_groups),
    "Arrow, mapped": (write_arrow, read_arrow),
    "npz members": (write_members, read_members),
}
OURS, PEER = list(LAYOUTS)[:2]
SOME = {PEER: 300, "Parquet, a group a view": 2000}


def _numbers(name: str) -> pa.Schema:
    return pa.schema([field for field in SCHEMAS[name] if field.name not in INDEXED])


def _table(schema: pa.Schema, columns: Mapping[str, object], count: int) -> pa.Table:
    arrays = []
    for field in schema:
        value = columns[field.name]
        one = not isinstance(value, np.ndarray)
        arrays.append(pa.repeat(pa.scalar(value, field.type), count) if one else pa.array(value, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def read_all(layout: str, name: str, folder: Path, images: int) -> dict[str, object]:
    """What reading views in random order costs this process: all of them, or some where each costs much."""
    write, open_layout = LAYOUTS[layout]
    with tempfile.TemporaryDirectory() as other:  # what pyarrow imports and allocates once is not the layout's
        write(Path(other), name, 1, 10)
        open_layout(Path(other), name)(1)
    order = np.random.default_rng(0).permutation(images * VIEWS)[: SOME.get(layout)].tolist()
    before, began = _anonymous(), time.process_time()
    read = open_layout(folder, name)
    open_ms = 1e3 * (time.process_time() - began)
    ms = []
    for _ in range(RUNS):
        began = time.process_time()
        for place in order:
            read(place)
        ms.append(1e3 * (time.process_time() - began) / len(order))
    return {"ms": ms, "open_ms": open_ms, "anonymous": _anonymous() - before}


def _anonymous() -> int:
    """Bytes in memory that are no file's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


def main() -> None:
    layout, name, folder, images = sys.argv[1:]
    print(json.dumps(read_all(layout, name, Path(folder), int(images))))


if __name__ == "__main__":
    main()

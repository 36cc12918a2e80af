"""The dense_targets stage's assignments, one entry at a time: its writer and its reader.

Shapes: N locations of an image, of all levels; F of them with a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.artifacts.fields import ID, MATCHED_GT, table_schema
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.shards import ShardReader
from pipeline.artifacts.tables import read_columns
from pipeline.geometry.points import Grid
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.artifacts.chunks import ChunkedWork

FG_FILE, IMAGES_FILE = "fg_locations.parquet", "images.parquet"

_VIEW = ("view", pa.int8(), "0 plain, 1 mirrored left to right, then other scales, 127 drawn")
FG_LOCATIONS = table_schema(
    ID,
    _VIEW,
    ("location", pa.int32(), "index, level outer, then y, x, anchor"),
    ("level", pa.int8(), "0 is the finest"),
    ("y", pa.int32(), "cells"),
    ("x", pa.int32(), "cells"),
    ("anchor", pa.int16(), "among those of its cell"),
    ("label", pa.int16(), "class index, 1..C-1"),
    MATCHED_GT,
    ("quality", pa.float32(), "0..1"),
)
LEVEL_IMAGES = table_schema(
    ID,
    _VIEW,
    ("level", pa.int8(), "0 is the finest"),
    ("stride", pa.int32(), "px of the resized image"),
    ("feature_height", pa.int32(), "cells"),
    ("feature_width", pa.int32(), "cells"),
    ("anchors", pa.int16(), "of a cell"),
    ("fg", pa.int32(), "locations of the level with a class"),
    ("ignored", pa.int32(), "locations of the level"),
    ("gt_boxes", pa.int32(), "trainable gt boxes of the image"),
    ("shard", pa.string(), "npz file that holds the packed bits of the ignored"),
)


@dataclass(frozen=True)
class StoredAssignment:
    """Of one entry's N locations.

    Attributes:
        fg: (F,) int64, the locations with a class, ascending. labels: (F,) int64, their classes.
        matched_gt: (F,) int64, the trainable gt box of each.
        quality: (F,) float32, 0..1, how well each suits its box, as the family measures it.
        ignored_bits: (ceil(N / 8),) uint8, a bit a location, 1 for an ignored one, the first in the highest.
        grid: the N locations.
    """

    fg: np.ndarray
    labels: np.ndarray
    matched_gt: np.ndarray
    quality: np.ndarray
    ignored_bits: np.ndarray
    grid: Grid

    @cached_property
    def ignored(self) -> np.ndarray:
        """(N,) bool."""
        return np.unpackbits(self.ignored_bits, count=len(self.grid)).astype(bool)

    @property
    def dense_labels(self) -> np.ndarray:
        """(N,) int64: class 1..C-1, 0 background, -1 ignored."""
        labels = -self.ignored.astype(np.int64)
        labels[self.fg] = self.labels
        return labels


class DenseTargetWriter:
    """Writes fg_locations.parquet, the packed bits of the ignored in npz shards, and images.parquet, their index."""

    def __init__(self, work: ChunkedWork) -> None:
        self._fg = work.table(FG_FILE, FG_LOCATIONS)
        self._images = work.table(IMAGES_FILE, LEVEL_IMAGES)
        self._shards = work.shards("ignored")

    @property
    def fg_count(self) -> int:
        """How many fg locations there are in all, when the work is finished."""
        return self._fg.rows

    def add(self, assigned: Mapping[Entry, StoredAssignment], gt_boxes: int) -> None:
        """The assignments of the entries of the image at hand, which has so many trainable gt boxes."""
        shard = self._shards.add({entry.name: own.ignored_bits for entry, own in assigned.items()})
        for entry, own in assigned.items():
            grid, places = own.grid, own.grid.places(own.fg)
            self._fg.write(
                {
                    **entry.columns,
                    "location": own.fg,
                    **places._asdict(),
                    "label": own.labels,
                    "matched_gt": own.matched_gt,
                    "quality": own.quality,
                }
            )
            levels = range(len(grid.cells))
            self._images.write(
                {
                    **entry.columns,
                    "level": list(levels),
                    "stride": grid.strides,
                    "feature_height": [high for high, _ in grid.cells],
                    "feature_width": [wide for _, wide in grid.cells],
                    "anchors": grid.per_cell,
                    "fg": np.bincount(places.level, minlength=len(levels)),
                    "ignored": [int(level.sum()) for level in grid.split(own.ignored)],
                    "gt_boxes": gt_boxes,
                    "shard": shard,
                }
            )


class DenseTargets:
    """The dense_targets stage's assignments."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        columns = read_columns(self.folder / IMAGES_FILE, LEVEL_IMAGES)
        first = np.flatnonzero(columns["level"] == 0)
        entries = map(Entry, columns["image_id"][first].tolist(), columns["view"][first].tolist())
        self._first = dict(zip(entries, first.tolist(), strict=True))
        self._shard = dict(zip(first.tolist(), columns["shard"][first].tolist(), strict=True))
        self._levels = int(columns["level"].max(initial=0)) + 1  # of every entry
        self._grids = {name: columns[name] for name in ("stride", "feature_height", "feature_width", "anchors")}
        self._counts = {name: columns[name] for name in ("level", "fg", "ignored")}
        self._rows = ImageRows(self.folder / FG_FILE, FG_LOCATIONS)
        self._shards = ShardReader(self.folder)

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._first)

    def __iter__(self) -> Iterator[Entry]:
        """The entries, in the order of their rows."""
        return iter(self._first)

    def __contains__(self, entry: object) -> bool:
        return entry in self._first

    @property
    def images(self) -> int:
        """How many images there are."""
        return sum(entry.view == 0 for entry in self._first)

    @property
    def fg_count(self) -> int:
        """How many fg locations there are in all."""
        return len(self._rows)

    def count_with_fg(self) -> int:
        """How many entries have a fg location."""
        return self._rows.count_with_rows()

    def counts(self) -> dict[int, tuple[int, int]]:
        """How many fg and ignored locations each level has in all entries, by ascending level."""
        level, fg, ignored = (own.astype(np.int64) for own in self._counts.values())
        totals = zip(*(np.bincount(level, own).astype(np.int64).tolist() for own in (fg, ignored)), strict=True)
        return dict(enumerate(totals))

    def check_has(self, entries: Iterable[Entry]) -> None:
        """Whether there are targets of all of these.

        Raises:
            InputError: there are none of one of them, such as of mirrors that base.mirror asks for now.
        """
        lacking = next((entry for entry in entries if entry not in self), None)
        if lacking is not None:
            raise InputError(
                f"{self.folder}: has no targets of {lacking.name}; rerun the stage that writes it with the base.mirror "
                f"and the resized images of the training (dvc repro {self.folder.name})"
            )

    def grid(self, entry: Entry) -> Grid:
        """The locations of an entry."""
        first = self._first[entry]
        stride, high, wide, anchors = (own[first : first + self._levels].tolist() for own in self._grids.values())
        return Grid(tuple(stride), tuple(zip(high, wide, strict=True)), tuple(anchors))

    def __getitem__(self, entry: Entry) -> StoredAssignment:
        rows = self._rows[entry]
        return StoredAssignment(
            rows["location"].astype(np.int64),
            rows["label"].astype(np.int64),
            rows["matched_gt"].astype(np.int64),
            rows["quality"],
            self._shards.read(self._shard[self._first[entry]], entry.name),
            self.grid(entry),
        )

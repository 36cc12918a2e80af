"""The anchor_targets stage's assignments, one entry at a time: its writer and its reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.artifacts.fields import DELTAS, ID, MATCHED_GT, MAX_IOU, VIEW, table_schema
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.shards import ShardReader
from pipeline.artifacts.tables import delta_columns, deltas_of, read_columns

if TYPE_CHECKING:
    from pipeline.artifacts.chunks import ChunkedWork

FG_FILE, IMAGES_FILE = "fg_anchors.parquet", "images.parquet"

FG_ANCHORS = table_schema(
    ID,
    VIEW,
    ("anchor", pa.int32(), "index, y outer, x inner, then ratio, then scale"),
    MATCHED_GT,
    MAX_IOU,
    *DELTAS,
)
ANCHOR_IMAGES = table_schema(
    ID,
    VIEW,
    ("shard", pa.string(), "npz file that holds the packed bg bits"),
    ("anchors", pa.int32(), "number of anchors of the image, K"),
    ("feature_height", pa.int32(), "cells"),
    ("feature_width", pa.int32(), "cells"),
    ("gt_boxes", pa.int32(), "trainable gt boxes of the image"),
)


@dataclass(frozen=True)
class AnchorAssignment:
    """Of one entry's K anchors.

    Attributes:
        fg: (F,) int64, indices of the fg anchors.
        deltas: (F, 4) float32 of the fg, not normalised.
        matched_gt: (F,) int64, the trainable gt box of each.
        max_iou: (F,) float32, 0..1.
        bg_bits: (ceil(K / 8),) uint8, a bit an anchor, 1 for bg, the first anchor in the highest.
        anchors: K.
        feature_size: Fh, Fw of the first level.
    """

    fg: np.ndarray
    deltas: np.ndarray
    matched_gt: np.ndarray
    max_iou: np.ndarray
    bg_bits: np.ndarray
    anchors: int
    feature_size: tuple[int, int]

    @property
    def is_bg(self) -> np.ndarray:
        """(K,) uint8, 1 for a bg anchor."""
        return np.unpackbits(self.bg_bits, count=self.anchors)

    @property
    def bg(self) -> np.ndarray:
        """(N,) int64, indices of the bg anchors."""
        return np.flatnonzero(self.is_bg)


class AnchorTargetWriter:
    """Writes fg_anchors.parquet, the packed bits of the bg in npz shards, and images.parquet, their index."""

    def __init__(self, work: ChunkedWork) -> None:
        self._fg = work.table(FG_FILE, FG_ANCHORS)
        self._images = work.table(IMAGES_FILE, ANCHOR_IMAGES)
        self._shards = work.shards("bg")

    @property
    def fg_count(self) -> int:
        """How many fg anchors there are in all, when the work is finished."""
        return self._fg.rows

    def add(self, assigned: Mapping[Entry, AnchorAssignment], gt_boxes: int) -> None:
        """The assignments of the entries of the image at hand, which has so many trainable gt boxes."""
        shard = self._shards.add({entry.name: own.bg_bits for entry, own in assigned.items()})
        for entry, own in assigned.items():
            self._fg.write(
                {
                    **entry.columns,
                    "anchor": own.fg,
                    "matched_gt": own.matched_gt,
                    "max_iou": own.max_iou,
                    **delta_columns(own.deltas),
                }
            )
            self._images.write(
                {
                    **entry.columns,
                    "shard": shard,
                    "anchors": own.anchors,
                    "feature_height": own.feature_size[0],
                    "feature_width": own.feature_size[1],
                    "gt_boxes": gt_boxes,
                }
            )


class AnchorTargets:
    """The anchor_targets stage's assignments."""

    def __init__(self, folder: Path) -> None:
        images = read_columns(Path(folder) / IMAGES_FILE, ANCHOR_IMAGES)
        entries = map(Entry, images["image_id"].tolist(), images["view"].tolist())
        self._row = {entry: row for row, entry in enumerate(entries)}
        self._images = {name: values.tolist() for name, values in images.items()}
        self._rows = ImageRows(Path(folder) / FG_FILE, FG_ANCHORS)
        self._shards = ShardReader(Path(folder))

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._row)

    @property
    def images(self) -> int:
        """How many images there are."""
        return sum(entry.view == 0 for entry in self._row)

    @property
    def fg_count(self) -> int:
        """How many fg anchors there are in all."""
        return len(self._rows)

    def count_with_fg(self) -> int:
        """How many entries have a fg anchor."""
        return self._rows.count_with_rows()

    def has_gt(self, image_id: str) -> bool:
        """Whether the image has a trainable gt box."""
        return int(self._images["gt_boxes"][self._row[Entry(image_id)]]) > 0

    def has_anchor(self, entry: Entry) -> bool:
        """Whether an entry has a fg or a bg anchor."""
        own = self[entry]
        return len(own.fg) > 0 or bool(own.bg_bits.any())

    def __contains__(self, entry: object) -> bool:
        return entry in self._row

    def __getitem__(self, entry: Entry) -> AnchorAssignment:
        rows, row = self._rows[entry], self._row[entry]
        shard, anchors, height, width = (
            self._images[name][row] for name in ("shard", "anchors", "feature_height", "feature_width")
        )
        return AnchorAssignment(
            rows["anchor"].astype(np.int64),
            deltas_of(rows),
            rows["matched_gt"].astype(np.int64),
            rows["max_iou"],
            self._shards.read(shard, entry.name),
            anchors,
            (height, width),
        )

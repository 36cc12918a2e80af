"""The anchor_targets stage's assignments, one entry at a time: its writer and its reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.artifacts import schemas
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.shards import ShardReader, member_name
from pipeline.artifacts.tables import ImageRows, delta_columns, deltas_of, read_columns

FG_FILE, IMAGES_FILE = "fg_anchors.parquet", "images.parquet"


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
        feature_size: Fh, Fw.
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
        self._fg = work.table(FG_FILE, schemas.FG_ANCHORS)
        self._images = work.table(IMAGES_FILE, schemas.ANCHOR_IMAGES)
        self._shards = work.shards("bg")

    @property
    def fg_count(self) -> int:
        """How many fg anchors there are in all, when the work is finished."""
        return self._fg.rows

    def add(self, assigned: Mapping[Entry, AnchorAssignment], gt_boxes: int) -> None:
        """The assignments of the entries of the image at hand, which has so many trainable gt boxes."""
        shard = self._shards.add({member_name(*entry): own.bg_bits for entry, own in assigned.items()})
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
            if entry.mirrored:
                continue
            self._images.write(
                {
                    "image_id": entry.image_id,
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
        images = read_columns(Path(folder) / IMAGES_FILE, schemas.ANCHOR_IMAGES)
        self._row = {image_id: row for row, image_id in enumerate(images["image_id"].tolist())}
        self._images = {name: values.tolist() for name, values in images.items()}
        self._rows = ImageRows(Path(folder) / FG_FILE, schemas.FG_ANCHORS)
        self._shards = ShardReader(Path(folder))

    def has_gt(self, image_id: str) -> bool:
        """Whether the image has a trainable gt box."""
        return int(self._images["gt_boxes"][self._row[image_id]]) > 0

    def has_anchor(self, image_id: str) -> bool:
        """Whether the image has a fg or a bg anchor."""
        own = self[Entry(image_id, False)]
        return len(own.fg) > 0 or bool(own.bg_bits.any())

    def __contains__(self, entry: Entry) -> bool:
        return entry.image_id in self._row

    def __getitem__(self, entry: Entry) -> AnchorAssignment:
        rows, row = self._rows[entry], self._row[entry.image_id]
        shard, anchors, height, width = (
            self._images[name][row] for name in ("shard", "anchors", "feature_height", "feature_width")
        )
        return AnchorAssignment(
            rows["anchor"].astype(np.int64),
            deltas_of(rows),
            rows["matched_gt"].astype(np.int64),
            rows["max_iou"],
            self._shards.read(shard, member_name(*entry)),
            anchors,
            (height, width),
        )

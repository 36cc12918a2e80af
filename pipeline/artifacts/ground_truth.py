"""The gt boxes of resized images that are trained on, and the regions where nothing is background."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.artifacts.image_views import Entry, seen_boxes
from pipeline.artifacts.resized_tables import RESIZED_BOXES
from pipeline.artifacts.tables import Columns, boxes_of, read_columns


class GroundTruth:
    """The trainable gt boxes of resized images: neither difficult nor crowd, as the paper trains; and the regions where
    nothing may be taken for background: crowds and ignore regions (label -1)."""

    def __init__(self, folder: Path) -> None:
        columns = read_columns(Path(folder) / "boxes.parquet", RESIZED_BOXES)
        ignore = columns["label"] < 0
        keep = ~(columns["difficult"] | columns["iscrowd"] | ignore)
        self._boxes = boxes_of(columns)[keep]
        self._labels = columns["label"][keep].astype(np.int64)
        self._spans = _spans_of(columns, keep)
        region = columns["iscrowd"] | ignore
        self._regions = boxes_of(columns)[region]
        self._region_spans = _spans_of(columns, region)

    def __getitem__(self, image_id: str) -> tuple[np.ndarray, np.ndarray]:
        """gt_boxes (G, 4) float32 in resized pixels of the image in view 0, gt_labels (G,) int64 in any view."""
        span = self._spans.get(Entry(image_id), slice(0, 0))
        return self._boxes[span], self._labels[span]

    def boxes(self, entry: Entry, width: int) -> np.ndarray:
        """gt_boxes (G, 4) of the image as the entry sees it."""
        span = self._spans.get(entry.stored, slice(0, 0))
        return seen_boxes(self._boxes[span], entry, width)

    def regions(self, entry: Entry, width: int) -> np.ndarray:
        """(I, 4) float32 crowd and ignore regions of the image as the entry sees it, in resized pixels."""
        span = self._region_spans.get(entry.stored, slice(0, 0))
        return seen_boxes(self._regions[span], entry, width)


def _spans_of(columns: Columns, chosen: np.ndarray) -> dict[Entry, slice]:
    """Where each entry's rows stand among the chosen, which come one entry after another."""
    entries = list(map(Entry, columns["image_id"][chosen].tolist(), columns["view"][chosen].tolist()))
    starts = [i for i in range(len(entries)) if i == 0 or entries[i] != entries[i - 1]]
    ends = [*starts, len(entries)][1:]
    return {entries[start]: slice(start, end) for start, end in zip(starts, ends, strict=True)}

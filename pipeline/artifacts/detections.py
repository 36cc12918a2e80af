"""Detections in the images of val and test: the table and its writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.artifacts.atomic import write_json_list
from pipeline.artifacts.fields import ID, box_fields, table_schema
from pipeline.artifacts.tables import Columns, box_columns, boxes_of

if TYPE_CHECKING:
    from pipeline.artifacts.chunks import ChunkedWork

DETECTIONS = table_schema(
    ID,
    ("label", pa.int16(), "class index, 1..C-1"),
    ("score", pa.float32(), "probability, 0..1"),
    *box_fields("original"),
)


class DetectionWriter:
    """Writes detections.parquet and, at the end, the same as COCO results, detections.json.

    Args:
        ids: all images that are detected in, in ascending order.
    """

    def __init__(self, work: ChunkedWork, ids: Sequence[str]) -> None:
        self._table = work.table("detections.parquet", DETECTIONS)
        self._number = {image_id: place + 1 for place, image_id in enumerate(ids)}

    @property
    def count(self) -> int:
        """How many detections there are in all, when the work is finished."""
        return self._table.rows

    def add(self, image_id: str, boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> None:
        """Of the image at hand: (N, 4) boxes in original pixels, (N,) labels and scores, by falling score."""
        self._table.write({"image_id": image_id, "label": labels, "score": scores, **box_columns(boxes)})

    def write_coco(self, folder: Path) -> None:
        """Write `folder`/detections.json, when all images are done."""
        results = (result for columns in self._table.groups() for result in _coco_results(self._number, columns))
        write_json_list(folder / "detections.json", results)


def _coco_results(number: Mapping[str, int], found: Columns) -> list[dict[str, object]]:
    """COCO's results format; image_id counts the images of val and test in order of their ids, from 1."""
    boxes = boxes_of(found)
    sizes = boxes[:, 2:] - boxes[:, :2]
    return [
        {
            "image_id": number[image_id],
            "category_id": int(label),
            "bbox": [round(float(value), 3) for value in (*box[:2], *size)],
            "score": round(float(score), 6),
        }
        for image_id, box, size, label, score in zip(
            found["image_id"], boxes, sizes, found["label"], found["score"], strict=True
        )
    ]

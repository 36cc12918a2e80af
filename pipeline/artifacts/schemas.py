"""The columns of every table, with units in the field metadata. docs/artifacts.md explains them."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = "2"


def _schema(*fields: tuple[str, pa.DataType, str]) -> pa.Schema:
    return pa.schema(
        [pa.field(name, kind, nullable=False, metadata={"unit": unit}) for name, kind, unit in fields],
        metadata={"schema_version": SCHEMA_VERSION},
    )


_ID = ("image_id", pa.string(), "id")
_VIEW = ("view", pa.int8(), "0 plain, 1 mirrored left to right, then other scales")
_STORED = ("view", pa.int8(), "0, or 2, 4, ... at the other scales of a training image")


def _box(image: str) -> list[tuple[str, pa.DataType, str]]:
    return [(name, pa.float32(), f"px of the {image} image, continuous") for name in ("x1", "y1", "x2", "y2")]


_DELTAS = [
    ("dx", pa.float32(), "anchor or proposal widths"),
    ("dy", pa.float32(), "anchor or proposal heights"),
    ("dw", pa.float32(), "log ratio of widths"),
    ("dh", pa.float32(), "log ratio of heights"),
]
_NORMALISED_DELTAS = [(name, kind, f"{unit}, minus mean, over std") for name, kind, unit in _DELTAS]
_LABEL = ("label", pa.int16(), "class index, 1..C-1")
_GT_LABEL = ("label", pa.int16(), "class index, 1..C-1; -1 an ignore region")
_MAX_IOU = ("max_iou", pa.float32(), "0..1")
_MATCHED_GT = ("matched_gt", pa.int32(), "index into the image's trainable gt boxes, in table order")

DATASET_IMAGES = _schema(
    _ID,
    ("split", pa.string(), "train, val or test"),
    ("file", pa.string(), "path; its first part names the root: raw or dataset"),
    ("width", pa.int32(), "px"),
    ("height", pa.int32(), "px"),
)
DATASET_BOXES = _schema(
    _ID,
    *_box("original"),
    _GT_LABEL,
    ("difficult", pa.bool_(), "VOC's flag: not trained on, not counted in evaluation"),
    ("iscrowd", pa.bool_(), "COCO's flag: a region of many objects"),
)
FINDINGS = _schema(
    ("file", pa.string(), "path of the file at fault"),
    ("object", pa.int32(), "index of the object in its file, -1 for the whole file"),
    ("kind", pa.string(), "kind of finding"),
    ("detail", pa.string(), "what was found"),
    ("action", pa.string(), "what was done about it"),
)
RESIZED_IMAGES = _schema(
    _ID,
    _STORED,
    ("split", pa.string(), "train, val or test"),
    ("width", pa.int32(), "px, resized"),
    ("height", pa.int32(), "px, resized"),
    ("original_width", pa.int32(), "px"),
    ("original_height", pa.int32(), "px"),
    ("scale_x", pa.float32(), "resized px per original px"),
    ("scale_y", pa.float32(), "resized px per original px"),
    ("shard", pa.string(), "npz file that holds the pixels"),
)
RESIZED_BOXES = _schema(
    _ID, _STORED, *_box("resized"), *[(f.name, f.type, f.metadata[b"unit"].decode()) for f in DATASET_BOXES][5:]
)
FG_ANCHORS = _schema(
    _ID,
    _VIEW,
    ("anchor", pa.int32(), "index, y outer, x inner, then ratio, then scale"),
    _MATCHED_GT,
    _MAX_IOU,
    *_DELTAS,
)
ANCHOR_IMAGES = _schema(
    _ID,
    _VIEW,
    ("shard", pa.string(), "npz file that holds the packed bg bits"),
    ("anchors", pa.int32(), "number of anchors of the image, K"),
    ("feature_height", pa.int32(), "cells"),
    ("feature_width", pa.int32(), "cells"),
    ("gt_boxes", pa.int32(), "trainable gt boxes of the image"),
)
PROPOSALS = _schema(
    _ID,
    _VIEW,
    ("rank", pa.int32(), "0 is the best"),
    ("score", pa.float32(), "fg probability, 0..1"),
    *_box("resized"),
)
PROPOSAL_TARGETS = _schema(
    _ID,
    _VIEW,
    ("rank", pa.int32(), "rank of the proposal, -1 for an appended gt box"),
    *_box("resized"),
    _MAX_IOU,
    _MATCHED_GT,
    ("label", pa.int16(), "class index, 0 bg, -1 ignored"),
    *_NORMALISED_DELTAS,
)
FEATURE_IMAGES = _schema(
    _ID,
    _VIEW,
    ("width", pa.int32(), "px, resized"),
    ("height", pa.int32(), "px, resized"),
    ("feature_height", pa.int32(), "cells"),
    ("feature_width", pa.int32(), "cells"),
    ("shard", pa.string(), "npz file that holds the map"),
)
MATCHES = _schema(
    _ID,
    ("kind", pa.string(), "correct, duplicate, wrong_class, badly_placed, background, ignored or missed"),
    ("label", pa.int16(), "class index of the detection, 0 for a missed gt box"),
    ("score", pa.float32(), "probability, 0..1, 0 for a missed gt box"),
    ("gt_label", pa.int16(), "class index of that gt box, -1 an ignore region, 0 none"),
    ("gt", pa.int32(), "index into the image's boxes in dataset/boxes.parquet, -1 none"),
    ("iou", pa.float32(), "0..1, with that gt box"),
    *_box("original"),
)
DETECTIONS = _schema(_ID, _LABEL, ("score", pa.float32(), "probability, 0..1"), *_box("original"))

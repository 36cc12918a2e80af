"""What the schemas of tables are made of, with units in the field metadata.

A table's own schema stands with its store, so that a new column runs only the stages that write or read that table.
docs/artifacts.md explains all columns.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = "2"

Field = tuple[str, pa.DataType, str]


def table_schema(*fields: Field, plain: bool = False) -> pa.Schema:
    """A schema of fields of (name, type, unit).

    Args:
        plain: whether its tables are stored neither compressed nor encoded, so that the rows of one image are read by
            their offset (`plain_chunks`). For tables from which training reads a few rows at a time, in any order.
    """
    return pa.schema(
        [pa.field(name, kind, nullable=False, metadata={"unit": unit}) for name, kind, unit in fields],
        metadata={"schema_version": SCHEMA_VERSION} | ({"layout": "plain"} if plain else {}),
    )


def box_fields(image: str) -> list[Field]:
    """The corners of a box of the original or the resized image."""
    return [(name, pa.float32(), f"px of the {image} image, continuous") for name in ("x1", "y1", "x2", "y2")]


ID = ("image_id", pa.string(), "id")
VIEW = ("view", pa.int8(), "0 plain, 1 mirrored left to right, then other scales")
STORED = ("view", pa.int8(), "0, or 2, 4, ... at the other scales of a training image")
MAX_IOU = ("max_iou", pa.float32(), "0..1")
MATCHED_GT = ("matched_gt", pa.int32(), "index into the image's trainable gt boxes, in table order")
DELTAS = [
    ("dx", pa.float32(), "anchor or proposal widths"),
    ("dy", pa.float32(), "anchor or proposal heights"),
    ("dw", pa.float32(), "log ratio of widths"),
    ("dh", pa.float32(), "log ratio of heights"),
]
GT_FLAGS = [
    ("label", pa.int16(), "class index, 1..C-1; -1 an ignore region"),
    ("difficult", pa.bool_(), "VOC's flag: not trained on, not counted in evaluation"),
    ("iscrowd", pa.bool_(), "COCO's flag: a region of many objects"),
]

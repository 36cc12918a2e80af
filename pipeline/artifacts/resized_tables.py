"""The tables of the resize stage: its images and their boxes."""

from __future__ import annotations

import pyarrow as pa

from pipeline.artifacts.fields import GT_FLAGS, ID, STORED, box_fields, table_schema

RESIZED_IMAGES = table_schema(
    ID,
    STORED,
    ("split", pa.string(), "train, val or test"),
    ("width", pa.int32(), "px, resized"),
    ("height", pa.int32(), "px, resized"),
    ("original_width", pa.int32(), "px"),
    ("original_height", pa.int32(), "px"),
    ("scale_x", pa.float32(), "resized px per original px"),
    ("scale_y", pa.float32(), "resized px per original px"),
    ("shard", pa.string(), "npz file that holds the pixels"),
)
RESIZED_BOXES = table_schema(ID, STORED, *box_fields("resized"), *GT_FLAGS)

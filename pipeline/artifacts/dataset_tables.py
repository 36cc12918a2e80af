"""The tables of the dataset stage that others read: its images and their boxes."""

from __future__ import annotations

import pyarrow as pa

from pipeline.artifacts.fields import GT_FLAGS, ID, box_fields, table_schema

DATASET_IMAGES = table_schema(
    ID,
    ("split", pa.string(), "train, val or test"),
    ("file", pa.string(), "path; its first part names the root: raw or dataset"),
    ("width", pa.int32(), "px"),
    ("height", pa.int32(), "px"),
)
DATASET_BOXES = table_schema(ID, *box_fields("original"), *GT_FLAGS)

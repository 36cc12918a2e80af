"""The table of detections."""

from __future__ import annotations

import pyarrow as pa

from pipeline.artifacts.fields import ID, box_fields, table_schema

DETECTIONS = table_schema(
    ID,
    ("label", pa.int16(), "class index, 1..C-1"),
    ("score", pa.float32(), "probability, 0..1"),
    *box_fields("original"),
)

"""The table of what evaluation made of each detection, and of the gt boxes that none found."""

from __future__ import annotations

import pyarrow as pa

from pipeline.artifacts.fields import ID, box_fields, table_schema

MATCHES = table_schema(
    ID,
    ("kind", pa.string(), "correct, duplicate, wrong_class, badly_placed, background, ignored or missed"),
    ("label", pa.int16(), "class index of the detection, 0 for a missed gt box"),
    ("score", pa.float32(), "probability, 0..1, 0 for a missed gt box"),
    ("gt_label", pa.int16(), "class index of that gt box, -1 an ignore region, 0 none"),
    ("gt", pa.int32(), "index into the image's boxes in dataset/boxes.parquet, -1 none"),
    ("iou", pa.float32(), "0..1, with that gt box"),
    *box_fields("original"),
)

"""The table of what the dataset stage found amiss."""

from __future__ import annotations

import pyarrow as pa

from pipeline.artifacts.fields import table_schema

FINDINGS = table_schema(
    ("file", pa.string(), "path of the file at fault"),
    ("object", pa.int32(), "index of the object in its file, -1 for the whole file"),
    ("kind", pa.string(), "kind of finding"),
    ("detail", pa.string(), "what was found"),
    ("action", pa.string(), "what was done about it"),
)

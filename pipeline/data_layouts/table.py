"""A CSV or Parquet file with a row a box."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.data_layouts.folders import files_in
from pipeline.data_layouts.layout import Layout, Miss, by_split
from pipeline.datasets.base import Split
from pipeline.datasets.records import XYWH, XYXY
from pipeline.datasets.table_columns import Words, column_names, read_blocks
from pipeline.runtime.errors import InputError

_MOST_FILES = 50


def table_layouts(root: Path) -> Iterator[Layout | Miss]:
    """Tables in the root that the reader takes; why not of others."""
    names = files_in(root, ".csv", ".parquet")
    for name in sorted(names, key=lambda name: (name != "boxes.csv", name))[:_MOST_FILES]:
        try:
            columns = set(column_names(root / name))
            boxes = next((form for form in ("xyxy", "xywh") if set(_FORMS[form].names) <= columns), None)
            lacking = sorted({"file", "class"} - columns) + ([] if boxes else ["x1, y1, x2, y2"])
            if lacking or boxes is None:
                yield Miss("table", f"{name} has no column {', '.join(lacking)}")
                continue
            settings = {"file": name, "boxes": boxes}
            values = _values(root / name) if "split" in columns else []
        except InputError as error:
            yield Miss("table", str(error).removeprefix(f"{root}/"))
            continue
        splits: dict[Split, list[str]] = by_split(values)
        if "train" in splits:
            yield Layout("table", f"a table, {name}, with a column of splits", splits, settings)
        else:
            whole: dict[Split, list[str]] = {"train": values or ["train"]}
            yield Layout("table", f"a table, {name}, without splits", whole, settings, labelled=True)


_FORMS = {"xyxy": XYXY, "xywh": XYWH}


def _values(path: Path) -> list[str]:
    words = Words("split", path)
    for block in read_blocks(path, ["split"]):
        words.add(block.column("split"))
    return [word for word in words.words if word]

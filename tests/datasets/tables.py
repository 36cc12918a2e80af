"""Tables to read, and what pandas reads from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.datasets.base import Dataset
from pipeline.datasets.table import read_table
from pipeline.datasets.validation import validate
from tests.datasets.policies import policy

PLAIN = """file,split,class,x1,y1,x2,y2
a.jpg,train,dog,10.5,20,1200,1300.25
a.jpg,train,cat,1,2,30,40
b.jpg,test,cat,0,0,1000.5,999
"""
SPLITS: Any = {"train": ["train"], "test": ["test"]}
Boxes = dict[tuple[str, str], list[list[float]]]


def put(root: Path, text: str | bytes, table: str = "boxes.csv", images: Sequence[str] = ("a.jpg", "b.jpg")) -> None:
    for name in (table, *images):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / table).write_bytes(text.encode() if isinstance(text, str) else text)


def read(root: Path, splits: Any = SPLITS, file: str = "boxes.csv", boxes: str = "xyxy", **changes: str) -> Dataset:
    return validate(read_table(root, splits, file, boxes, None), policy(**changes), lambda _: (2000, 2000))


def by_image(dataset: Dataset) -> Boxes:
    """(File and split) -> class and corners of each box."""
    return {
        (one.file.removeprefix("raw/"), one.split): [
            [label, *box] for label, box in zip(one.labels.tolist(), one.boxes.tolist(), strict=True)
        ]
        for one in dataset.images
    }


def by_pandas(frame: pd.DataFrame) -> Boxes:
    """The same of a frame of columns file, split, class and corners."""
    classes = sorted(frame["class"].dropna().unique())
    expected: Boxes = {}
    for (file, split), own in frame.groupby(["file", "split"]):
        rows = own.dropna(subset=["class"])
        labels = [[float(classes.index(name) + 1)] for name in rows["class"]]
        corners = rows[["x1", "y1", "x2", "y2"]].to_numpy(np.float32).tolist()
        expected[file, split] = [label + box for label, box in zip(labels, corners, strict=True)]
    return expected


def said(dataset: Dataset) -> str:
    return "; ".join(finding.detail for finding in dataset.findings if finding.kind == "table_form")

"""The table reader: CSV and Parquet, both ways to write a box, flags, images without objects."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.base import Dataset
from pipeline.datasets.images import image_size
from pipeline.datasets.table import read_table
from pipeline.datasets.validation import validate
from tests.datasets.policies import policy

ROWS = """file,split,class,x1,y1,x2,y2,difficult,ignore,note
b.jpg,train,dog,10,20,30,40,1,,seen
p/a.jpg,train,,,,,,,,
c.jpg,test,cat,1.5,2,3.5,4,false,,
b.jpg,train,cat,0,0,100,80,0,,
b.jpg,train,,5,5,9,9,,true,
d.jpg,spare,cow,0,0,9,9,,,
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "p").mkdir()
    for name in ("b.jpg", "p/a.jpg", "c.jpg", "d.jpg"):
        cv2.imwrite(str(tmp_path / name), np.full((80, 100, 3), ord(name[0]), np.uint8))
    (tmp_path / "boxes.csv").write_text(ROWS)
    pd.read_csv(tmp_path / "boxes.csv").to_parquet(tmp_path / "boxes.parquet")
    return tmp_path


def read(root: Path, file: str = "boxes.csv", boxes: str = "xyxy", **changes: str) -> Dataset:
    data = read_table(root, {"train": ["train"], "val": [], "test": ["test"]}, file, boxes, None)
    return validate(data, policy(**changes), image_size)


@pytest.mark.parametrize("file", ["boxes.csv", "boxes.parquet"])
def test_reads_rows_in_any_order(root: Path, file: str) -> None:
    dataset = read(root, file)
    b, c, a = dataset.images
    assert dataset.classes == ("cat", "dog") and not dataset.findings
    assert [(one.image_id, one.split) for one in (b, c, a)] == [("b", "train"), ("c", "test"), ("p_a", "train")]
    assert b.boxes.tolist() == [[10, 20, 30, 40], [0, 0, 100, 80], [5, 5, 9, 9]] and b.labels.tolist() == [2, 1, -1]
    assert b.difficult.tolist() == [True, False, False] and len(a.boxes) == 0
    assert c.boxes.tolist() == [[1.5, 2, 3.5, 4]] and (c.width, c.height) == (100, 80)


def test_boxes_by_corner_and_sides_and_sizes_of_images(root: Path) -> None:
    header = "file,split,class,x,y,width,height,image_width,image_height"
    (root / "boxes.csv").write_text(f"{header}\nb.jpg,train,dog,10,20,20,20,100,80\nc.jpg,test,dog,1,2,3,4,90,80\n")
    dataset = read(root, boxes="xywh", size_differs="fix")
    b, c = dataset.images
    assert b.boxes.tolist() == [[10, 20, 30, 40]] and c.width == 100
    assert [finding.kind for finding in dataset.findings] == ["size_differs"]


def test_words_for_numbers_name_the_row(root: Path) -> None:
    (root / "boxes.csv").write_text(ROWS.replace("1.5,2,3.5", "left,2,3.5"))
    dataset = read(root, non_numeric="drop")
    list(dataset.images)
    assert [(f.object, f.detail) for f in dataset.findings] == [(2, "x1 of row 3 is 'left', not a number")]


def test_an_image_in_two_splits(root: Path) -> None:
    (root / "boxes.csv").write_text(ROWS + "b.jpg,test,cat,1,1,9,9,,,\n")
    dataset = read(root, same_image_in_train_and_test="drop")
    assert [(one.image_id, one.split) for one in dataset.images] == [("b", "test"), ("c", "test"), ("p_a", "train")]
    assert [finding.kind for finding in dataset.findings] == ["same_image_in_train_and_test"]

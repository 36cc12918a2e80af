"""The YOLO reader: shares of the sides, names in two forms, folders and lists."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.datasets.base import Dataset
from pipeline.datasets.images import image_size
from pipeline.datasets.validation import validate
from pipeline.datasets.yolo import read_yolo
from tests.datasets.policies import policy


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/b.jpg", "train/day/a.png", "val/c.jpg"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((80, 100, 3), np.uint8))
        (tmp_path / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "labels/train/b.txt").write_text("1 0.2 0.375 0.2 0.25\n0 0.5 0.5 1 1\n")
    (tmp_path / "labels/train/day/a.txt").write_text("\n")
    (tmp_path / "labels/val/c.txt").write_text("2 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text("names:\n  0: cat\n  1: dog\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "val.txt").write_text("./images/val/c.jpg\n")
    return tmp_path


def read(root: Path, test: str = "images/val", names: str = "data.yaml", **changes: str) -> Dataset:
    data = read_yolo(root, {"train": ["images/train"], "val": [], "test": [test]}, names)
    return validate(data, policy(**changes), image_size)


@pytest.mark.parametrize("names", ["data.yaml", "classes.txt"])
@pytest.mark.parametrize("test", ["images/val", "val.txt"])
def test_reads_boxes_as_shares_of_the_sides(root: Path, test: str, names: str) -> None:
    dataset = read(root, test, names)
    b, a, c = dataset.images
    assert dataset.classes == ("cat", "dog")
    assert [one.image_id for one in (b, a, c)] == ["images_train_b", "images_train_day_a", "images_val_c"]
    assert np.allclose(b.boxes, [[10, 20, 30, 40], [0, 0, 100, 80]]) and b.labels.tolist() == [2, 1]
    assert len(a.boxes) == 0 and c.split == "test" and len(c.boxes) == 0
    assert [(finding.object, finding.kind) for finding in dataset.findings] == [(0, "unknown_class")]


def test_an_image_without_a_label_file_may_be_kept(root: Path) -> None:
    (root / "labels/train/day/a.txt").unlink()
    dataset = read(root, image_without_annotation="keep")
    assert len(list(dataset.images)) == 3
    assert [finding.kind for finding in dataset.findings] == ["image_without_annotation", "unknown_class"]

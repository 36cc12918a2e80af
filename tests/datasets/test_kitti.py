"""The KITTI reader: DontCare, merged classes, lists, suffixes, and real streets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.datasets.base import Dataset
from pipeline.datasets.images import image_size
from pipeline.datasets.kitti import read_kitti
from pipeline.datasets.validation import validate
from tests.datasets.policies import policy

CLASSES = ["Car", "Pedestrian"]


def line(name: str = "Car", box: str = "10.5 20 30 40.25") -> str:
    return f"{name} 0.00 0 -1.57 {box} 2.85 2.63 12.34 0.47 1.49 69.44 -1.56\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("training/image_2", "training/label_2", "ImageSets"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("000000.png", "000001.jpeg", "000002.jpg"):
        cv2.imwrite(
            str(tmp_path / "training/image_2" / name), np.full((80, 100, 3), len(name) + ord(name[0]), np.uint8)
        )
    texts = (line() + line("Van"), "", line("DontCare", "1 2 30 40") + "\n" + line("Tram"))
    for number, text in enumerate(texts):
        (tmp_path / f"training/label_2/00000{number}.txt").write_text(text)
    (tmp_path / "train.txt").write_text("000001\n000000\n\n")
    (tmp_path / "ImageSets/val.txt").write_text("000002\n")
    return tmp_path


def read(root: Path, merge: dict[str, str] | None = None, classes: Any = CLASSES, **changes: str) -> Dataset:
    data = read_kitti(root, {"train": ["train"], "val": [], "test": ["val"]}, "training", classes, merge or {})
    return validate(data, policy(**changes), image_size)


def test_reads_boxes_sizes_and_regions(root: Path) -> None:
    dataset = read(root)
    first, empty, test = dataset.images
    assert [one.image_id for one in (first, empty, test)] == ["000000", "000001", "000002"]
    assert first.boxes.tolist() == [[10.5, 20, 30, 40.25]] and (first.width, first.height) == (100, 80)
    assert empty.file == "raw/training/image_2/000001.jpeg" and len(empty.boxes) == 0
    assert test.split == "test" and test.labels.tolist() == [-1] and test.boxes.tolist() == [[1, 2, 30, 40]]
    assert [(finding.object, finding.kind, finding.action) for finding in dataset.findings] == [
        (1, "unknown_class", "dropped"),
        (2, "unknown_class", "dropped"),  # line 3, after an empty one
    ]


def test_classes_are_merged(root: Path) -> None:
    dataset = read(root, {"Van": "Car", "Tram": "DontCare"})
    assert [one.labels.tolist() for one in dataset.images] == [[1, 1], [], [-1, -1]]
    assert [finding.kind for finding in dataset.findings] == ["duplicate_box"]  # the van where the car is
    assert read(root, {"Van": "Car"}, classes=None).classes == ("Car", "Tram")


def test_what_is_not_listed_may_be_ignored(root: Path) -> None:
    assert [one.labels.tolist() for one in read(root, unknown_class="ignore").images] == [[1, -1], [], [-1, -1]]


def test_reads_kitti_tiny(shared: Path) -> None:
    data = read_kitti(shared / "data/kitti_tiny", {"train": ["train"], "test": ["val"]}, "training", None, {})
    images = list(validate(data, policy(), image_size).images)
    assert len(data.classes) == 8 and [sum(one.split == split for one in images) for split in ("train", "test")] == [
        50,
        25,
    ]
    labels = np.concatenate([one.labels for one in images])
    assert (labels > 0).sum() == 311 and (labels == -1).sum() == 188

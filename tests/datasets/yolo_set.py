"""A small YOLO data set of three images, to be spoiled."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipeline.datasets.base import Dataset
from pipeline.datasets.images import image_size
from pipeline.datasets.validation import validate
from pipeline.datasets.yolo import read_yolo
from tests.datasets.policies import policy


def yolo_set(root: Path) -> Path:
    """Write it to an empty folder: two train images, one of them without boxes, and one to test on."""
    for name in ("train/b.jpg", "train/day/a.png", "val/c.jpg"):
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((80, 100, 3), ord(path.stem), np.uint8))
        (root / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "labels/train/b.txt").write_text("1 0.2 0.375 0.2 0.25\n0 0.5 0.5 1 1\n")
    (root / "labels/train/day/a.txt").write_text("\n")
    (root / "labels/val/c.txt").write_text("2 0.5 0.5 0.1 0.1\n")
    (root / "data.yaml").write_text("names:\n  0: cat\n  1: dog\n")
    (root / "classes.txt").write_text("cat\ndog\n")
    (root / "val.txt").write_text("./images/val/c.jpg\n")
    return root


def read(root: Path, test: str = "images/val", names: str = "data.yaml", **changes: str) -> Dataset:
    data = read_yolo(root, {"train": ["images/train"], "val": [], "test": [test]}, names)
    return validate(data, policy(**changes), image_size)

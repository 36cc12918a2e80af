"""A sound data set of two small images in each format, to be spoiled, and how to read it to the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.datasets.base import AnnotatedImage, Finding
from pipeline.datasets.coco import read_coco
from pipeline.datasets.faults import Faults
from pipeline.datasets.images import image_size, problems_of
from pipeline.datasets.kitti import read_kitti
from pipeline.datasets.records import RawData
from pipeline.datasets.table import read_table
from pipeline.datasets.validation import validate
from pipeline.datasets.voc import read_voc
from pipeline.datasets.yolo import read_yolo
from tests.datasets.policies import policy

XML = """<annotation><size><width>100</width><height>80</height></size>
<object><name>dog</name><difficult>0</difficult>
<bndbox><xmin>11</xmin><ymin>21</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>
"""
KITTI = """Car 0.00 0 -1.57 10.5 20 30 40.25 2.85 2.63 12.34 0.47 1.49 69.44 -1.56
DontCare -1 -1 -10 50 60 70 75 -1 -1 -1 -1000 -1000 -1000 -10
"""
YOLO = "1 0.2 0.375 0.2 0.25\n0 0.5 0.5 0.5 0.5\n"
TABLE = """file,split,class,x1,y1,x2,y2,difficult
a.png,train,dog,10,20,30,40,0
b.png,test,cat,10,20,30,40,1
"""


def coco(name: str) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": name, "width": 100, "height": 80}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": [10, 20, 20, 30], "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 9, "bbox": [0, 0, 50, 50.5], "iscrowd": 1},
        ],
        "categories": [{"id": 3, "name": "dog"}, {"id": 9, "name": "cat"}],
    }


def _files(kind: str) -> dict[str, str]:
    """Texts by path; the training image is a, the test image b."""
    match kind:
        case "voc":
            lists = {"ImageSets/Main/train.txt": "a\n", "ImageSets/Main/test.txt": "b\n"}
            return {"Annotations/a.xml": XML, "Annotations/b.xml": XML, **lists}
        case "coco":
            return {f"{split}.json": json.dumps(coco(name)) for split, name in (("train", "a.png"), ("test", "b.png"))}
        case "kitti":
            labels = {f"training/label_2/{name}.txt": KITTI for name in "ab"}
            return {**labels, "train.txt": "a\n", "test.txt": "b\n"}
        case "yolo":
            labels = {f"labels/{name}.txt": YOLO for name in ("train/a", "test/b")}
            return {**labels, "data.yaml": "names: [cat, dog]\n"}
        case _:
            return {"boxes.csv": TABLE}


IMAGES: Mapping[str, Sequence[str]] = {
    "voc": ("JPEGImages/a.jpg", "JPEGImages/b.jpg"),
    "coco": ("train/a.png", "test/b.png"),
    "kitti": ("training/image_2/a.png", "training/image_2/b.png"),
    "yolo": ("images/train/a.png", "images/test/b.png"),
    "table": ("a.png", "b.png"),
}
KINDS = tuple(IMAGES)
_READERS: Mapping[str, Callable[[Path, Faults], RawData]] = {
    "voc": lambda root, faults: read_voc(root, {"train": ["train"], "test": ["test"]}, None, faults),
    "coco": lambda root, faults: read_coco(
        root, {"train": ["train.json"], "test": ["test.json"]}, "{name}", None, faults
    ),
    "kitti": lambda root, faults: read_kitti(
        root, {"train": ["train"], "test": ["test"]}, "training", None, {}, faults
    ),
    "yolo": lambda root, faults: read_yolo(
        root, {"train": ["images/train"], "test": ["images/test"]}, "data.yaml", faults
    ),
    "table": lambda root, faults: read_table(
        root, {"train": ["train"], "test": ["test"]}, "boxes.csv", "xyxy", None, faults
    ),
}


def plant(kind: str, root: Path) -> Path:
    """Write the sound data set of a kind below `root`."""
    for name in IMAGES[kind]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.full((80, 100, 3), ord(Path(name).stem[0]), np.uint8))
    for name, text in _files(kind).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def annotation_files(kind: str) -> list[str]:
    """Paths of all text files of a kind's data set."""
    return list(_files(kind))


def read(kind: str, root: Path, **changes: str) -> tuple[list[AnnotatedImage], list[Finding]]:
    """All images and findings of the data set, under the committed policy with `changes`."""
    return _to_the_end(kind, root, Faults(), changes)


def read_on(kind: str, root: Path, **changes: str) -> tuple[list[AnnotatedImage], list[Finding], list[str]]:
    """As `read`, but going on after each fault; and what the faults say."""
    faults = Faults(keep=True)
    images, findings = [], []
    with faults.going_on():
        images, findings = _to_the_end(kind, root, faults, changes)
    return images, findings, faults.lines


def _to_the_end(
    kind: str, root: Path, faults: Faults, changes: Mapping[str, str]
) -> tuple[list[AnnotatedImage], list[Finding]]:
    dataset = validate(_READERS[kind](root, faults), policy(**changes), image_size, problems_of, faults)
    return list(dataset.images), dataset.findings

"""Data sets of ten small photos in each format, without lists of splits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.params.dataset import DatasetParams
from tests.conftest import apply_overlay
from tests.defaults import default_content

NAMES = tuple(f"p{index}" for index in range(10))
KINDS = ("voc", "coco", "kitti", "yolo", "table")
_FOLDERS = {"voc": "JPEGImages/", "coco": "all/", "kitti": "training/image_2/", "yolo": "images/", "table": ""}


def photo(seed: int, side: int = 64) -> np.ndarray:
    """(side, side, 3) uint8, a smooth texture that no other seed's is like."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)


def class_of(name: str) -> str:
    return "dog" if int(name[1:]) % 2 else "cat"


def file_of(kind: str, name: str) -> str:
    """Path of an image below the root."""
    return f"{_FOLDERS[kind]}{name}.png"


def plant(kind: str, root: Path) -> Path:
    """Write the data set of a kind: each photo has one box, of a cat and a dog in turn."""
    for index, name in enumerate(NAMES):
        path = root / file_of(kind, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), photo(index))
    for name, text in _texts(kind).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def _texts(kind: str) -> dict[str, str]:
    match kind:
        case "voc":
            box = "<bndbox><xmin>11</xmin><ymin>21</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
            size = "<size><width>64</width><height>64</height></size>"
            objects = {name: f"<object><name>{class_of(name)}</name>{box}</object>" for name in NAMES}
            return {f"Annotations/{name}.xml": f"<annotation>{size}{own}</annotation>" for name, own in objects.items()}
        case "coco":
            content = {
                "images": [{"id": i, "file_name": f"{name}.png"} for i, name in enumerate(NAMES)],
                "annotations": [
                    {"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [10, 20, 20, 20]} for i in range(10)
                ],
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            }
            return {"annotations/all.json": json.dumps(content)}
        case "kitti":
            rest = "2.85 2.63 12.34 0.47 1.49 69.44 -1.56\n"
            return {
                f"training/label_2/{name}.txt": f"{class_of(name)} 0.00 0 -1.57 10 20 30 40 {rest}" for name in NAMES
            }
        case "yolo":
            labels = {f"labels/{name}.txt": f"{int(name[1:]) % 2} 0.3125 0.46875 0.3125 0.3125\n" for name in NAMES}
            return {**labels, "data.yaml": "names: [cat, dog]\n"}
        case _:
            rows = [f"{name}.png,{class_of(name)},10,20,30,40" for name in NAMES]
            return {"boxes.csv": "\n".join(["file,class,x1,y1,x2,y2", *rows]) + "\n"}


def overlay(kind: str, **split: Any) -> dict[str, Any]:
    """What to change of the default section `dataset`; `split` is a part of its own."""
    own: Mapping[str, Any] = {"classes": ["cat", "dog"]} if kind == "kitti" else {}
    return {"reader": kind, kind: own, "split": split}


def params(kind: str, **split: Any) -> DatasetParams:
    """The default parameters with reader `kind` and this `dataset.split`."""
    content = apply_overlay(default_content(), {"dataset": overlay(kind, **split)})
    return DatasetParams.model_validate(content["dataset"])

"""Layouts of tools and public data sets by a name for a person: what writes each, and an independent reading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.data_layouts import readings, writers
from tests.data_layouts.photos import Found
from tests.data_layouts.readings import TWO


class Public(NamedTuple):
    """A layout: what writes it below a root, and a reading of each split without this project's code."""

    write: Callable[[Path], None]
    read: Callable[[Path], dict[str, Found]]
    reader: str


_THREE = {"train": "train", "val": "valid", "test": "test"}


_CORNERS = ("xmin", "ymin", "xmax", "ymax")


PUBLIC: dict[str, Public] = {
    "VOC2007": Public(
        writers.voc2007, lambda root: readings.read_voc_tree(root, {"train": "trainval", "test": "test"}), "voc"
    ),
    "VOC 2007 and 2012 in VOCdevkit": Public(writers.vocdevkit, readings.read_vocdevkit, "voc"),
    "VOC of CVAT": Public(writers.cvat_voc, lambda root: readings.read_voc_tree(root, TWO, ".PNG"), "voc"),
    "VOC with lists in the root": Public(writers.voc_with_lists_elsewhere, readings.read_lists_elsewhere, "voc"),
    "VOC of Roboflow": Public(
        writers.roboflow_voc,
        lambda root: readings.read_flat_voc(root, {"train": "train", "val": "valid", "test": "test"}),
        "voc",
    ),
    "VOC of TensorFlow's tutorial": Public(
        writers.tensorflow_tutorial,
        lambda root: readings.read_flat_voc(root, {"train": "images/train", "test": "images/test"}),
        "voc",
    ),
    "VOC in lower case": Public(
        writers.lower_case_voc,
        lambda root: readings.read_flat_voc(root, {"train": "train", "test": "test"}, "annotations", "images"),
        "voc",
    ),
    "COCO 2017": Public(
        writers.coco2017,
        lambda root: {
            split: readings.by_json(root, f"annotations/instances_{name}2017.json", f"{name}2017")
            for split, name in TWO.items()
        },
        "coco",
    ),
    "COCO of Roboflow": Public(
        writers.roboflow_coco,
        lambda root: {
            split: readings.by_json(root, f"{name}/_annotations.coco.json", name)
            for split, name in {"train": "train", "val": "valid", "test": "test"}.items()
        },
        "coco",
    ),
    "COCO of CVAT": Public(
        writers.cvat_coco,
        lambda root: {
            split: readings.by_json(root, f"annotations/instances_{name}.json", f"images/{name}")
            for split, name in TWO.items()
        },
        "coco",
    ),
    "COCO of CVAT, images in one folder": Public(
        lambda root: writers.cvat_coco(root, "images"),
        lambda root: {
            split: readings.by_json(root, f"annotations/instances_{name}.json", "images") for split, name in TWO.items()
        },
        "coco",
    ),
    "COCO of CVAT in a folder below": Public(
        lambda root: writers.cvat_coco(root / "export"),
        lambda root: {
            split: readings.by_json(root, f"export/annotations/instances_{name}.json", f"export/images/{name}")
            for split, name in TWO.items()
        },
        "coco",
    ),
    "COCO of Roboflow in a folder below": Public(
        lambda root: writers.roboflow_coco(root / "Fruit.v1i.coco"),
        lambda root: {
            split: readings.by_json(root, f"Fruit.v1i.coco/{name}/_annotations.coco.json", f"Fruit.v1i.coco/{name}")
            for split, name in {"train": "train", "val": "valid", "test": "test"}.items()
        },
        "coco",
    ),
    "COCO with files named by splits": Public(
        writers.coco_named_by_splits,
        lambda root: {
            split: readings.by_json(root, f"{name}_annotations.json", name)
            for split, name in {"train": "train", "test": "valid"}.items()
        },
        "coco",
    ),
    "COCO of FiftyOne": Public(
        writers.fiftyone_coco,
        lambda root: {
            split: readings.by_json(root, f"{name}/labels.json", f"{name}/data") for split, name in TWO.items()
        },
        "coco",
    ),
    "YOLO of Roboflow": Public(
        writers.roboflow_yolo,
        lambda root: readings.read_folders(
            root, {"train": "train/images", "val": "valid/images", "test": "test/images"}
        ),
        "yolo",
    ),
    "YOLO of Ultralytics, coco8": Public(
        writers.coco8, lambda root: readings.read_folders(root, {"train": "images/train", "test": "images/val"}), "yolo"
    ),
    "YOLO of Ultralytics, lists": Public(
        writers.ultralytics_lists,
        lambda root: readings.read_lists(
            root, {split: f"{split}.txt" for split in ("train", "val", "test")}, readings.labels_in_folder
        ),
        "yolo",
    ),
    "YOLO of CVAT, Ultralytics": Public(
        writers.cvat_ultralytics,
        lambda root: readings.read_lists(root, {"train": "train.txt", "test": "val.txt"}, readings.labels_in_folder),
        "yolo",
    ),
    "YOLO of CVAT, 1.1": Public(
        writers.cvat_yolo,
        lambda root: readings.read_lists(root, {"train": "train.txt", "test": "valid.txt"}, readings.labels_beside),
        "yolo",
    ),
    "YOLO Darknet of Roboflow": Public(
        writers.roboflow_darknet,
        lambda root: readings.read_folders(
            root, {"train": "train", "val": "valid", "test": "test"}, readings.labels_beside
        ),
        "yolo",
    ),
    "YOLO of darknet": Public(
        writers.darknet,
        lambda root: readings.read_lists(root, {"train": "train.txt", "test": "test.txt"}, readings.labels_beside),
        "yolo",
    ),
    "KITTI": Public(writers.kitti, readings.read_kitti, "kitti"),
    "CSV": Public(writers.plain_csv, readings.read_csv, "table"),
    "CSV of TensorFlow and Roboflow": Public(
        writers.tensorflow_csv,
        lambda root: readings.read_tables(
            root, {split: f"{name}/_annotations.csv" for split, name in _THREE.items()}, None, beside=True
        ),
        "table",
    ),
    "CSV of keras-retinanet": Public(
        writers.keras_csv,
        lambda root: readings.read_tables(
            root, {split: f"{name}.csv" for split, name in TWO.items()}, ["filename", *_CORNERS, "class"]
        ),
        "table",
    ),
}
"""Layouts by a name for a person."""

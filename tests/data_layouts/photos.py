"""Five photos with boxes, and their annotations in the forms that several tools write."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

WIDTH, HEIGHT = 40, 32


CLASSES = ("apple", "pear")
Boxes = list[tuple[str, float, float, float, float]]  # class, and continuous corners in px
Found = dict[str, Boxes]  # by path below the root


class Photo(NamedTuple):
    """An image: name, split and boxes (class, x, y, width, height in px from 0)."""

    name: str
    split: str
    boxes: tuple[tuple[str, int, int, int, int], ...]


PHOTOS = (
    Photo("a", "train", (("pear", 2, 3, 20, 10), ("apple", 0, 0, 40, 32))),
    Photo("b", "train", (("apple", 5, 6, 7, 8),)),
    Photo("c", "train", ()),
    Photo("d", "val", (("pear", 10, 11, 12, 13),)),
    Photo("e", "test", (("apple", 1, 2, 30, 20), ("pear", 4, 4, 8, 16))),
)


def photos(*splits: str) -> list[Photo]:
    """Those of some splits."""
    return [photo for photo in PHOTOS if photo.split in splits]


def put(path: Path, text: str) -> None:
    """Write a text where no folder need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def put_photo(path: Path) -> None:
    """Write an image of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(path.name.encode())).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())


def voc_xml(photo: Photo, file: str) -> str:
    """An annotation as Roboflow and labelImg write it: corners counted from 1, the last pixel included."""
    objects = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult><bndbox>"
        f"<xmin>{x + 1}</xmin><xmax>{x + w}</xmax><ymin>{y + 1}</ymin><ymax>{y + h}</ymax></bndbox></object>\n"
        for name, x, y, w, h in photo.boxes
    )
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return (
        f"<annotation><folder></folder><filename>{file}</filename><path>{file}</path>{size}\n{objects}</annotation>\n"
    )


def coco_json(own: Iterable[Photo], file: Callable[[str], str] = "{}.jpg".format, group: str = "") -> str:
    """An instances file; with `group` a category 0 of all others, as Roboflow has it."""
    first = [{"id": 0, "name": group, "supercategory": "none"}] if group else []
    categories = [{"id": 1 + i, "name": name, "supercategory": group or "none"} for i, name in enumerate(CLASSES)]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, photo in enumerate(own):
        images.append({"id": number, "file_name": file(photo.name), "width": WIDTH, "height": HEIGHT, "license": 1})
        for name, x, y, w, h in photo.boxes:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": 1 + CLASSES.index(name),
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "segmentation": [],
                    "iscrowd": 0,
                }
            )
    content = {"info": {}, "licenses": [], "images": images, "annotations": annotations}
    return json.dumps({**content, "categories": [*first, *categories]})


def yolo_txt(photo: Photo) -> str:
    """A label file."""
    return "".join(
        f"{CLASSES.index(name)} {(x + w / 2) / WIDTH:.8f} {(y + h / 2) / HEIGHT:.8f} {w / WIDTH:.8f} {h / HEIGHT:.8f}\n"
        for name, x, y, w, h in photo.boxes
    )

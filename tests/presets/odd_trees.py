"""Data roots that lack splits, or that no reader takes as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.data_layouts.photos import PHOTOS, coco_json, put, put_photo, voc_xml, yolo_txt
from tests.data_layouts.public import PUBLIC
from tests.faults.trees import plant


def label_studio(root: Path) -> None:
    for photo in PHOTOS:
        put_photo(root / f"images/{photo.name}.jpg")
        put(root / f"labels/{photo.name}.txt", yolo_txt(photo))
    put(root / "classes.txt", "apple\npear\n")
    put(root / "notes.json", json.dumps({"categories": [{"id": 0, "name": "apple"}], "info": {}}))


def without_names(root: Path) -> None:
    label_studio(root)
    (root / "classes.txt").unlink()


def kangaroos(root: Path) -> None:
    for photo in PHOTOS:
        put_photo(root / f"images/{photo.name}.JPG")
        put(root / f"annots/{photo.name}.xml", voc_xml(photo, f"{photo.name}.JPG"))


def one_json(root: Path) -> None:
    for photo in PHOTOS:
        put_photo(root / f"images/{photo.name}.jpg")
    put(root / "annotations/instances_default.json", coco_json(PHOTOS))


def one_json_below(root: Path) -> None:
    one_json(root / "my export")


def two_json(root: Path) -> None:
    one_json(root)
    put(root / "annotations/instances_other.json", coco_json(PHOTOS))


def images_elsewhere(root: Path) -> None:
    put_photo(root / "a/b/c/a.jpg")
    put(root / "train.json", coco_json(PHOTOS[:2]))


def two_kinds(root: Path) -> None:
    plant("voc", root)
    plant("yolo", root)


def nested(root: Path) -> None:
    PUBLIC["YOLO of Ultralytics, coco8"].write(root / "datasets/coco8")


def photos(root: Path) -> None:
    put_photo(root / "a.jpg")
    put_photo(root / "b.jpg")
    put(root / "notes.docx", "")


def csv(root: Path) -> None:
    put_photo(root / "a.jpg")
    put(root / "boxes.csv", "photo,kind,links,oben,rechts,unten\na.jpg,dog,1,2,3,4\n")


def coco128(root: Path) -> None:
    label_studio(root)
    put(root / "coco128.yaml", "path: ../coco128\ntrain: images\nval: images\nnames: {0: apple, 1: pear}\n")


def declared_elsewhere(root: Path) -> None:
    label_studio(root)
    put(root / "data.yaml", "train: ../else\nval: ../valid/images\nnames: [apple, pear]\n")


def labels_elsewhere(root: Path) -> None:
    PUBLIC["YOLO of Ultralytics, coco8"].write(root)
    (root / "labels").rename(root / "boxes")


def voc_link_as_text(root: Path) -> None:
    PUBLIC["VOC2007"].write(root)
    (root / "JPEGImages").rename(root.parent / "photos")
    put(root / "JPEGImages", "../photos")  # as git and ZIP files write a link where there are none


def spoilt(name: str, file: str, text: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        PUBLIC[name].write(root)
        for path in root.rglob(file):
            path.write_text(text)

    return write


def without(name: str, pattern: str) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        PUBLIC[name].write(root)
        for path in root.rglob(pattern):
            path.unlink()

    return write


def label_img(root: Path) -> None:
    for photo in PHOTOS:
        put_photo(root / f"{photo.name}.jpg")
        put(root / f"{photo.name}.txt", yolo_txt(photo))
    put(root / "classes.txt", "apple\npear\n")


def kitti(root: Path) -> None:
    PUBLIC["KITTI"].write(root)
    (root / "train.txt").unlink()
    (root / "val.txt").unlink()


def roboflow_train_alone(root: Path) -> None:
    PUBLIC["VOC of Roboflow"].write(root)
    for folder in ("valid", "test"):
        for path in (root / folder).iterdir():
            path.rename(root / "train" / path.name)
        (root / folder).rmdir()


def cvat_default(root: Path) -> None:
    PUBLIC["VOC of CVAT"].write(root)
    for name in ("train", "val"):
        (root / f"ImageSets/Main/{name}.txt").unlink()
    put(root / "ImageSets/Main/default.txt", "a\nb\nc\nd\ne\n")


def folders_of_classes(root: Path) -> None:
    for photo in PHOTOS:
        put_photo(root / f"site {len(photo.boxes)}/{photo.name}.jpg")
        put(root / f"site {len(photo.boxes)}/{photo.name}.xml", voc_xml(photo, f"{photo.name}.jpg"))


UNDIVIDED = {
    "YOLO of Label Studio": label_studio,
    "YOLO of labelImg": label_img,
    "VOC without lists": kangaroos,
    "VOC of Roboflow, train alone": roboflow_train_alone,
    "VOC of CVAT, one list": cvat_default,
    "VOC in folders of other names": folders_of_classes,
    "COCO of CVAT, one file": one_json,
    "COCO of CVAT, one file in a folder below": one_json_below,
    "KITTI without lists": kitti,
    "coco128": coco128,
}
"""Data without splits of their own, by names for a person."""

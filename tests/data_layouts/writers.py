"""Data sets of a few images as tools and their documentations lay them out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.data_layouts.photos import (
    CLASSES,
    HEIGHT,
    PHOTOS,
    WIDTH,
    Photo,
    coco_json,
    photos,
    put,
    put_photo,
    voc_xml,
    yolo_txt,
)


def voc_tree(root: Path, lists: Mapping[str, tuple[str, ...]], suffix: str = ".jpg") -> None:
    for photo in PHOTOS:
        put_photo(root / f"JPEGImages/{photo.name}{suffix}")
        put(root / f"Annotations/{photo.name}.xml", voc_xml(photo, f"{photo.name}{suffix}"))
    for name, splits in lists.items():
        put(root / f"ImageSets/Main/{name}.txt", "".join(f"{photo.name}\n" for photo in photos(*splits)))


def voc2007(root: Path) -> None:
    voc_tree(root, {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)})
    for name, flags in (("apple_trainval", "a  1\nb  1\nc -1\nd -1\n"), ("apple_test", "e  1\n")):
        put(root / f"ImageSets/Main/{name}.txt", flags)
    put(root / "ImageSets/Layout/trainval.txt", "a\nb\n")
    (root / "SegmentationClass").mkdir()


def cvat_voc(root: Path) -> None:
    voc_tree(root, {"train": ("train",), "val": ("val", "test")}, ".PNG")
    put(root / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\npear:1,2,3::\napple:4,5,6::\n")


def roboflow_voc(root: Path) -> None:
    put(root / "README.roboflow.txt", "Exported from a site.")
    for photo in PHOTOS:
        folder = root / {"val": "valid"}.get(photo.split, photo.split)
        name = f"{photo.name}_jpg.rf.0123abcd"
        put_photo(folder / f"{name}.jpg")
        put(folder / f"{name}.xml", voc_xml(photo, f"{name}.jpg"))


def vocdevkit(root: Path) -> None:
    """The devkits of two years in one folder; 2012's test list comes without annotations."""
    for year, splits in (("VOC2007", ("train", "test")), ("VOC2012", ("val",))):
        tree = root / "VOCdevkit" / year
        for photo in photos(*splits):
            put_photo(tree / f"JPEGImages/{photo.name}.jpg")
            put(tree / f"Annotations/{photo.name}.xml", voc_xml(photo, f"{photo.name}.jpg"))
        names = [photo.name for photo in photos(*splits) if photo.split != "test"]
        for name, own in (("train", names), ("val", []), ("trainval", names), ("test", "e")):
            put(tree / f"ImageSets/Main/{name}.txt", "".join(f"{image}\n" for image in own))
    put_photo(root / "VOCdevkit/VOC2012/JPEGImages/e.jpg")


def voc_with_lists_elsewhere(root: Path) -> None:
    voc_tree(root, {"train": ("train",), "val": ("val", "test")})
    for name in ("train", "val"):
        (root / f"ImageSets/Main/{name}.txt").rename(root / f"{name}.txt")


def tensorflow_tutorial(root: Path) -> None:
    for photo in PHOTOS:
        folder = root / "images" / ("train" if photo.split == "train" else "test")
        put_photo(folder / f"{photo.name}.jpeg")
        put(folder / f"{photo.name}.xml", voc_xml(photo, f"{photo.name}.jpeg"))


def lower_case_voc(root: Path) -> None:
    for photo in PHOTOS:
        folder = root / ("train" if photo.split == "train" else "test")
        put_photo(folder / f"images/{photo.name}.png")
        put(folder / f"annotations/{photo.name}.xml", voc_xml(photo, f"{photo.name}.png"))


def coco2017(root: Path) -> None:
    for split, own in (("train2017", photos("train")), ("val2017", photos("val", "test"))):
        for photo in own:
            put_photo(root / split / f"{photo.name}.jpg")
        put(root / f"annotations/instances_{split}.json", coco_json(own))
        put(root / f"annotations/person_keypoints_{split}.json", coco_json(own))
        put(root / f"annotations/captions_{split}.json", json.dumps({"images": [], "annotations": []}))


def roboflow_coco(root: Path) -> None:
    for split in ("train", "val", "test"):
        folder = root / {"val": "valid"}.get(split, split)
        for photo in photos(split):
            put_photo(folder / f"{photo.name}_jpg.rf.0123abcd.jpg")
        put(folder / "_annotations.coco.json", coco_json(photos(split), "{}_jpg.rf.0123abcd.jpg".format, "fruits"))


def cvat_coco(root: Path, inside: str = "images/{}") -> None:
    for split, own in (("train", photos("train")), ("val", photos("val", "test"))):
        for photo in own:
            put_photo(root / inside.format(split) / f"{photo.name}.jpg")
        put(root / f"annotations/instances_{split}.json", coco_json(own))


def coco_named_by_splits(root: Path) -> None:
    for split, own in (("train", photos("train")), ("valid", photos("val", "test"))):
        for photo in own:
            put_photo(root / split / f"{photo.name}.jpg")
        put(root / f"{split}_annotations.json", coco_json(own))


def fiftyone_coco(root: Path) -> None:
    for split, own in (("train", photos("train")), ("val", photos("val", "test"))):
        for photo in own:
            put_photo(root / split / "data" / f"{photo.name}.jpg")
        put(root / split / "labels.json", coco_json(own))


def yolo_files(root: Path, photo: Photo, image: str, label: str) -> None:
    put_photo(root / image)
    if photo.boxes:  # Ultralytics' own sets have no file where there is no object
        put(root / label, yolo_txt(photo))


def roboflow_yolo(root: Path) -> None:
    for photo in PHOTOS:
        folder = {"val": "valid"}.get(photo.split, photo.split)
        yolo_files(root, photo, f"{folder}/images/{photo.name}.jpg", f"{folder}/labels/{photo.name}.txt")
    put(
        root / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['apple', 'pear']\n\n"
        "roboflow:\n  workspace: me\n  version: 1\n",
    )


def coco8(root: Path) -> None:
    for photo in PHOTOS:
        split = "train" if photo.split == "train" else "val"
        yolo_files(root, photo, f"images/{split}/{photo.name}.jpg", f"labels/{split}/{photo.name}.txt")
    put(
        root / "coco8.yaml",
        "path: ../datasets/coco8 # dataset root dir\ntrain: images/train # 4 images\nval: images/val\ntest: # test "
        "images (optional)\n\nnames:\n  0: apple\n  1: pear\n\ndownload: https://example.org/coco8.zip\n",
    )


def ultralytics_lists(root: Path) -> None:
    for photo in PHOTOS:
        yolo_files(root, photo, f"images/{photo.name}.jpg", f"labels/{photo.name}.txt")
    for split in ("train", "val", "test"):
        lines = [f"/home/me/datasets/fruit/images/{photo.name}.jpg" for photo in photos(split)]
        put(root / f"{split}.txt", "\n".join(lines))
    content = {"path": "/home/me/datasets/fruit", "train": ["train.txt"], "val": "val.txt", "test": "test.txt"}
    put(root / "fruit.yml", yaml.safe_dump({**content, "names": dict(enumerate(CLASSES))}))


def cvat_ultralytics(root: Path) -> None:
    for split, own in (("train", photos("train")), ("val", photos("val", "test"))):
        for photo in own:
            yolo_files(root, photo, f"images/{split}/{photo.name}.jpg", f"labels/{split}/{photo.name}.txt")
        put(root / f"{split}.txt", "".join(f"data/images/{split}/{photo.name}.jpg\n" for photo in own))
    put(root / "data.yaml", "names:\n  0: apple\n  1: pear\npath: .\ntrain: train.txt\nval: val.txt\n")


def cvat_yolo(root: Path) -> None:
    for name, own in (("train", photos("train")), ("valid", photos("val", "test"))):
        for photo in own:
            put_photo(root / f"obj_{name}_data/{photo.name}.jpg")
            put(root / f"obj_{name}_data/{photo.name}.txt", yolo_txt(photo))
        put(root / f"{name}.txt", "".join(f"data/obj_{name}_data/{photo.name}.jpg\n" for photo in own))
    put(root / "obj.names", "apple\npear\n")
    put(root / "obj.data", "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n")


def roboflow_darknet(root: Path) -> None:
    for photo in PHOTOS:
        folder = root / {"val": "valid"}.get(photo.split, photo.split)
        put_photo(folder / f"{photo.name}.jpg")
        put(folder / f"{photo.name}.txt", yolo_txt(photo))
        put(folder / "_darknet.labels", "apple\npear\n")


def darknet(root: Path) -> None:
    for photo in PHOTOS:
        put_photo(root / f"obj/{photo.name}.jpg")
        put(root / f"obj/{photo.name}.txt", yolo_txt(photo))
    for name, own in (("train", photos("train")), ("test", photos("val", "test"))):
        put(root / f"{name}.txt", "\n".join(f"data/obj/{photo.name}.jpg" for photo in own))
    put(root / "obj.names", "apple\npear")
    put(root / "obj.data", "classes= 2\ntrain  = data/train.txt\nvalid  = data/test.txt\nnames = data/obj.names\n")


def kitti(root: Path) -> None:
    for photo in PHOTOS:
        put_photo(root / f"training/image_2/{photo.name}.png")
        lines = (f"{name} 0.00 0 -1.57 {x} {y} {x + w} {y + h} 1 1 1 1 1 1 0\n" for name, x, y, w, h in photo.boxes)
        put(root / f"training/label_2/{photo.name}.txt", "".join(lines))
    put(root / "train.txt", "a\nb\nc\n")
    put(root / "val.txt", "d\ne\n")


def plain_csv(root: Path) -> None:
    rows = ["file,split,class,x,y,width,height"]
    for photo in PHOTOS:
        put_photo(root / f"photos/{photo.name}.jpg")
        rows += [
            f"photos/{photo.name}.jpg,{photo.split},{','.join(map(str, box))}" for box in photo.boxes or [("",) * 5]
        ]
    put(root / "labels.csv", "\n".join(rows) + "\n")


def tensorflow_csv(root: Path) -> None:
    """Roboflow's TensorFlow Object Detection CSV."""
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
        for photo in photos(split):
            put_photo(root / f"{folder}/{photo.name}.jpg")
            size = f"{photo.name}.jpg,{WIDTH},{HEIGHT}"
            rows += [f"{size},{name},{x},{y},{x + w},{y + h}" for name, x, y, w, h in photo.boxes]
        put(root / f"{folder}/_annotations.csv", "\n".join(rows) + "\n")


def keras_csv(root: Path) -> None:
    """keras-retinanet's CSV, which has no header, and names its classes in a file of its own."""
    for split, name in (("train", "train"), ("test", "val")):
        rows = []
        for photo in photos("train") if split == "train" else photos("val", "test"):
            put_photo(root / f"images/{photo.name}.jpg")
            corners = [f"{x},{y},{x + w},{y + h},{own}" for own, x, y, w, h in photo.boxes]
            rows += [f"images/{photo.name}.jpg,{box}" for box in corners or [",,,,"]]
        put(root / f"{name}.csv", "\n".join(rows) + "\n")
    put(root / "classes.csv", "apple,0\npear,1\n")

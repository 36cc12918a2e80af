"""Data sets of a few images as tools and their documentations lay them out, each with an independent reading."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np
import pandas as pd
import yaml
from pycocotools.coco import COCO

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
    images, annotations = [], []
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


class Public(NamedTuple):
    """A layout: what writes it below a root, and a reading of each split without this project's code."""

    write: Callable[[Path], None]
    read: Callable[[Path], dict[str, Found]]
    reader: str


# VOC


def _by_xml(root: Path, pairs: Iterable[tuple[str, str]]) -> Found:
    """Boxes of pairs of image and XML file."""
    found: Found = {}
    for file, annotation in pairs:
        found[file] = []
        for item in ElementTree.parse(root / annotation).getroot().iter("object"):
            x1, y1, x2, y2 = (float(item.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax"))
            found[file].append((item.findtext("name", ""), x1 - 1, y1 - 1, x2, y2))
    return found


def _voc_tree(root: Path, lists: Mapping[str, tuple[str, ...]], suffix: str = ".jpg") -> None:
    for photo in PHOTOS:
        put_photo(root / f"JPEGImages/{photo.name}{suffix}")
        put(root / f"Annotations/{photo.name}.xml", voc_xml(photo, f"{photo.name}{suffix}"))
    for name, splits in lists.items():
        put(root / f"ImageSets/Main/{name}.txt", "".join(f"{photo.name}\n" for photo in photos(*splits)))


def _read_voc_tree(root: Path, lists: Mapping[str, str], suffix: str = ".jpg") -> dict[str, Found]:
    def pairs(name: str) -> Iterable[tuple[str, str]]:
        for stem in (root / f"ImageSets/Main/{name}.txt").read_text().split():
            yield f"JPEGImages/{stem}{suffix}", f"Annotations/{stem}.xml"

    return {split: _by_xml(root, pairs(name)) for split, name in lists.items()}


def _voc2007(root: Path) -> None:
    _voc_tree(root, {"train": ("train",), "val": ("val",), "trainval": ("train", "val"), "test": ("test",)})
    for name, flags in (("apple_trainval", "a  1\nb  1\nc -1\nd -1\n"), ("apple_test", "e  1\n")):
        put(root / f"ImageSets/Main/{name}.txt", flags)
    put(root / "ImageSets/Layout/trainval.txt", "a\nb\n")
    (root / "SegmentationClass").mkdir()


def _cvat_voc(root: Path) -> None:
    _voc_tree(root, {"train": ("train",), "val": ("val", "test")}, ".PNG")
    put(root / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\npear:1,2,3::\napple:4,5,6::\n")


def _roboflow_voc(root: Path) -> None:
    put(root / "README.roboflow.txt", "Exported from a site.")
    for photo in PHOTOS:
        folder = root / {"val": "valid"}.get(photo.split, photo.split)
        name = f"{photo.name}_jpg.rf.0123abcd"
        put_photo(folder / f"{name}.jpg")
        put(folder / f"{name}.xml", voc_xml(photo, f"{name}.jpg"))


def _read_flat_voc(root: Path, folders: Mapping[str, str], annotations: str = "", images: str = "") -> dict[str, Found]:
    def pairs(folder: str) -> Iterable[tuple[str, str]]:
        for path in (root / folder / annotations).glob("*.xml"):
            (image,) = (root / folder / images).glob(f"{path.stem}.[jJpP]*")
            yield str(image.relative_to(root)), str(path.relative_to(root))

    return {split: _by_xml(root, pairs(folder)) for split, folder in folders.items()}


def _voc_with_lists_elsewhere(root: Path) -> None:
    _voc_tree(root, {"train": ("train",), "val": ("val", "test")})
    for name in ("train", "val"):
        (root / f"ImageSets/Main/{name}.txt").rename(root / f"{name}.txt")


def _read_lists_elsewhere(root: Path) -> dict[str, Found]:
    stems = {split: (root / f"{name}.txt").read_text().split() for split, name in _TWO.items()}
    return {
        split: _by_xml(root, [(f"JPEGImages/{stem}.jpg", f"Annotations/{stem}.xml") for stem in own])
        for split, own in stems.items()
    }


def _tensorflow_tutorial(root: Path) -> None:
    for photo in PHOTOS:
        folder = root / "images" / ("train" if photo.split == "train" else "test")
        put_photo(folder / f"{photo.name}.jpeg")
        put(folder / f"{photo.name}.xml", voc_xml(photo, f"{photo.name}.jpeg"))


def _lower_case_voc(root: Path) -> None:
    for photo in PHOTOS:
        folder = root / ("train" if photo.split == "train" else "test")
        put_photo(folder / f"images/{photo.name}.png")
        put(folder / f"annotations/{photo.name}.xml", voc_xml(photo, f"{photo.name}.png"))


# COCO


def _by_json(root: Path, file: str, folder: str) -> Found:
    """Boxes of an instances file by pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO(str(root / file))
    found: Found = {}
    for number, image in api.imgs.items():
        boxes = []
        for item in api.loadAnns(api.getAnnIds(imgIds=[number])):
            x, y, w, h = item["bbox"]
            boxes.append((api.cats[item["category_id"]]["name"], x, y, x + w, y + h))
        found[f"{folder}/{image['file_name']}"] = boxes
    return found


def _coco2017(root: Path) -> None:
    for split, own in (("train2017", photos("train")), ("val2017", photos("val", "test"))):
        for photo in own:
            put_photo(root / split / f"{photo.name}.jpg")
        put(root / f"annotations/instances_{split}.json", coco_json(own))
        put(root / f"annotations/person_keypoints_{split}.json", coco_json(own))
        put(root / f"annotations/captions_{split}.json", json.dumps({"images": [], "annotations": []}))


def _roboflow_coco(root: Path) -> None:
    for split in ("train", "val", "test"):
        folder = root / {"val": "valid"}.get(split, split)
        for photo in photos(split):
            put_photo(folder / f"{photo.name}_jpg.rf.0123abcd.jpg")
        put(folder / "_annotations.coco.json", coco_json(photos(split), "{}_jpg.rf.0123abcd.jpg".format, "fruits"))


def _cvat_coco(root: Path, inside: str = "images/{}") -> None:
    for split, own in (("train", photos("train")), ("val", photos("val", "test"))):
        for photo in own:
            put_photo(root / inside.format(split) / f"{photo.name}.jpg")
        put(root / f"annotations/instances_{split}.json", coco_json(own))


def _coco_named_by_splits(root: Path) -> None:
    for split, own in (("train", photos("train")), ("valid", photos("val", "test"))):
        for photo in own:
            put_photo(root / split / f"{photo.name}.jpg")
        put(root / f"{split}_annotations.json", coco_json(own))


def _fiftyone_coco(root: Path) -> None:
    for split, own in (("train", photos("train")), ("val", photos("val", "test"))):
        for photo in own:
            put_photo(root / split / "data" / f"{photo.name}.jpg")
        put(root / split / "labels.json", coco_json(own))


# YOLO


def _by_text(root: Path, images: Iterable[str], labels: Callable[[str], str], names: list[str]) -> Found:
    """Boxes of images by their label files; an image without one has none."""
    found: Found = {}
    for file in images:
        path = root / labels(file)
        height, width = cv2.imread(str(root / file)).shape[:2]
        found[file] = []
        for line in path.read_text().splitlines() if path.exists() else ():
            index, cx, cy, w, h = (float(field) for field in line.split())
            corners = ((cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height)
            found[file].append((names[int(index)], *corners))
    return found


def _in_folder(root: Path, folder: str) -> list[str]:
    return [str(path.relative_to(root)) for path in (root / folder).glob("*.jpg")]


def _labels(file: str) -> str:
    return file.replace("images", "labels").replace(".jpg", ".txt")


def _beside(file: str) -> str:
    return file.replace(".jpg", ".txt")


def _yolo_files(root: Path, photo: Photo, image: str, label: str) -> None:
    put_photo(root / image)
    if photo.boxes:  # Ultralytics' own sets have no file where there is no object
        put(root / label, yolo_txt(photo))


def _roboflow_yolo(root: Path) -> None:
    for photo in PHOTOS:
        folder = {"val": "valid"}.get(photo.split, photo.split)
        _yolo_files(root, photo, f"{folder}/images/{photo.name}.jpg", f"{folder}/labels/{photo.name}.txt")
    put(
        root / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['apple', 'pear']\n\n"
        "roboflow:\n  workspace: me\n  version: 1\n",
    )


def _coco8(root: Path) -> None:
    for photo in PHOTOS:
        split = "train" if photo.split == "train" else "val"
        _yolo_files(root, photo, f"images/{split}/{photo.name}.jpg", f"labels/{split}/{photo.name}.txt")
    put(
        root / "coco8.yaml",
        "path: ../datasets/coco8 # dataset root dir\ntrain: images/train # 4 images\nval: images/val\ntest: # test "
        "images (optional)\n\nnames:\n  0: apple\n  1: pear\n\ndownload: https://example.org/coco8.zip\n",
    )


def _ultralytics_lists(root: Path) -> None:
    for photo in PHOTOS:
        _yolo_files(root, photo, f"images/{photo.name}.jpg", f"labels/{photo.name}.txt")
    for split in ("train", "val", "test"):
        lines = [f"/home/me/datasets/fruit/images/{photo.name}.jpg" for photo in photos(split)]
        put(root / f"{split}.txt", "\n".join(lines))
    content = {"path": "/home/me/datasets/fruit", "train": ["train.txt"], "val": "val.txt", "test": "test.txt"}
    put(root / "fruit.yml", yaml.safe_dump({**content, "names": dict(enumerate(CLASSES))}))


def _cvat_ultralytics(root: Path) -> None:
    for split, own in (("train", photos("train")), ("val", photos("val", "test"))):
        for photo in own:
            _yolo_files(root, photo, f"images/{split}/{photo.name}.jpg", f"labels/{split}/{photo.name}.txt")
        put(root / f"{split}.txt", "".join(f"data/images/{split}/{photo.name}.jpg\n" for photo in own))
    put(root / "data.yaml", "names:\n  0: apple\n  1: pear\npath: .\ntrain: train.txt\nval: val.txt\n")


def _cvat_yolo(root: Path) -> None:
    for name, own in (("train", photos("train")), ("valid", photos("val", "test"))):
        for photo in own:
            put_photo(root / f"obj_{name}_data/{photo.name}.jpg")
            put(root / f"obj_{name}_data/{photo.name}.txt", yolo_txt(photo))
        put(root / f"{name}.txt", "".join(f"data/obj_{name}_data/{photo.name}.jpg\n" for photo in own))
    put(root / "obj.names", "apple\npear\n")
    put(root / "obj.data", "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\n")


def _roboflow_darknet(root: Path) -> None:
    for photo in PHOTOS:
        folder = root / {"val": "valid"}.get(photo.split, photo.split)
        put_photo(folder / f"{photo.name}.jpg")
        put(folder / f"{photo.name}.txt", yolo_txt(photo))
        put(folder / "_darknet.labels", "apple\npear\n")


def _darknet(root: Path) -> None:
    for photo in PHOTOS:
        put_photo(root / f"obj/{photo.name}.jpg")
        put(root / f"obj/{photo.name}.txt", yolo_txt(photo))
    for name, own in (("train", photos("train")), ("test", photos("val", "test"))):
        put(root / f"{name}.txt", "\n".join(f"data/obj/{photo.name}.jpg" for photo in own))
    put(root / "obj.names", "apple\npear")
    put(root / "obj.data", "classes= 2\ntrain  = data/train.txt\nvalid  = data/test.txt\nnames = data/obj.names\n")


def _read_lists(root: Path, lists: Mapping[str, str], labels: Callable[[str], str]) -> dict[str, Found]:
    """By lists whose paths end in ones below the root."""

    def images(name: str) -> Iterable[str]:
        for line in (root / name).read_text().split():
            (image,) = (str(p.relative_to(root)) for p in root.rglob("*.jpg") if p.name == Path(line).name)
            yield image

    return {split: _by_text(root, images(name), labels, [*CLASSES]) for split, name in lists.items()}


def _read_folders(root: Path, folders: Mapping[str, str], labels: Callable[[str], str] = _labels) -> dict[str, Found]:
    return {split: _by_text(root, _in_folder(root, name), labels, [*CLASSES]) for split, name in folders.items()}


# KITTI and tables


def _kitti(root: Path) -> None:
    for photo in PHOTOS:
        put_photo(root / f"training/image_2/{photo.name}.png")
        lines = (f"{name} 0.00 0 -1.57 {x} {y} {x + w} {y + h} 1 1 1 1 1 1 0\n" for name, x, y, w, h in photo.boxes)
        put(root / f"training/label_2/{photo.name}.txt", "".join(lines))
    put(root / "train.txt", "a\nb\nc\n")
    put(root / "val.txt", "d\ne\n")


def _read_kitti(root: Path) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for split, name in (("train", "train"), ("test", "val")):
        found[split] = {}
        for stem in (root / f"{name}.txt").read_text().split():
            rows = [line.split() for line in (root / f"training/label_2/{stem}.txt").read_text().splitlines()]
            boxes = [(row[0], *map(float, row[4:8])) for row in rows]
            found[split][f"training/image_2/{stem}.png"] = boxes  # type: ignore[assignment]
    return found


def _csv(root: Path) -> None:
    rows = ["file,split,class,x,y,width,height"]
    for photo in PHOTOS:
        put_photo(root / f"photos/{photo.name}.jpg")
        rows += [
            f"photos/{photo.name}.jpg,{photo.split},{','.join(map(str, box))}" for box in photo.boxes or [("",) * 5]
        ]
    put(root / "labels.csv", "\n".join(rows) + "\n")


def _read_csv(root: Path) -> dict[str, Found]:
    found: dict[str, Found] = {}
    with (root / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            boxes = found.setdefault(row["split"], {}).setdefault(row["file"], [])
            if row["class"]:
                x, y, w, h = (float(row[name]) for name in ("x", "y", "width", "height"))
                boxes.append((row["class"], x, y, x + w, y + h))
    return found


def _tensorflow_csv(root: Path) -> None:
    """Roboflow's TensorFlow Object Detection CSV."""
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
        for photo in photos(split):
            put_photo(root / f"{folder}/{photo.name}.jpg")
            size = f"{photo.name}.jpg,{WIDTH},{HEIGHT}"
            rows += [f"{size},{name},{x},{y},{x + w},{y + h}" for name, x, y, w, h in photo.boxes]
        put(root / f"{folder}/_annotations.csv", "\n".join(rows) + "\n")


def _keras_csv(root: Path) -> None:
    """keras-retinanet's CSV, which has no header, and names its classes in a file of its own."""
    for split, name in (("train", "train"), ("test", "val")):
        rows = []
        for photo in photos("train") if split == "train" else photos("val", "test"):
            put_photo(root / f"images/{photo.name}.jpg")
            corners = [f"{x},{y},{x + w},{y + h},{own}" for own, x, y, w, h in photo.boxes]
            rows += [f"images/{photo.name}.jpg,{box}" for box in corners or [",,,,"]]
        put(root / f"{name}.csv", "\n".join(rows) + "\n")
    put(root / "classes.csv", "apple,0\npear,1\n")


def _read_tables(
    root: Path, tables: Mapping[str, str], names: list[str] | None, beside: bool = False
) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for split, path in tables.items():
        folder = f"{path.rpartition('/')[0]}/" if beside else ""
        frame = pd.read_csv(root / path, names=names)
        for row in frame.itertuples():
            boxes = found.setdefault(split, {}).setdefault(folder + row.filename, [])
            if isinstance(row[frame.columns.get_loc("class") + 1], str):
                label = row[frame.columns.get_loc("class") + 1]
                boxes.append((label, row.xmin, row.ymin, row.xmax, row.ymax))
    return found


_TWO = {"train": "train", "test": "val"}
_THREE = {"train": "train", "val": "valid", "test": "test"}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
PUBLIC: dict[str, Public] = {
    "VOC2007": Public(_voc2007, lambda root: _read_voc_tree(root, {"train": "trainval", "test": "test"}), "voc"),
    "VOC of CVAT": Public(_cvat_voc, lambda root: _read_voc_tree(root, _TWO, ".PNG"), "voc"),
    "VOC with lists in the root": Public(_voc_with_lists_elsewhere, _read_lists_elsewhere, "voc"),
    "VOC of Roboflow": Public(
        _roboflow_voc, lambda root: _read_flat_voc(root, {"train": "train", "val": "valid", "test": "test"}), "voc"
    ),
    "VOC of TensorFlow's tutorial": Public(
        _tensorflow_tutorial, lambda root: _read_flat_voc(root, {"train": "images/train", "test": "images/test"}), "voc"
    ),
    "VOC in lower case": Public(
        _lower_case_voc,
        lambda root: _read_flat_voc(root, {"train": "train", "test": "test"}, "annotations", "images"),
        "voc",
    ),
    "COCO 2017": Public(
        _coco2017,
        lambda root: {
            split: _by_json(root, f"annotations/instances_{name}2017.json", f"{name}2017")
            for split, name in _TWO.items()
        },
        "coco",
    ),
    "COCO of Roboflow": Public(
        _roboflow_coco,
        lambda root: {
            split: _by_json(root, f"{name}/_annotations.coco.json", name)
            for split, name in {"train": "train", "val": "valid", "test": "test"}.items()
        },
        "coco",
    ),
    "COCO of CVAT": Public(
        _cvat_coco,
        lambda root: {
            split: _by_json(root, f"annotations/instances_{name}.json", f"images/{name}")
            for split, name in _TWO.items()
        },
        "coco",
    ),
    "COCO of CVAT, images in one folder": Public(
        lambda root: _cvat_coco(root, "images"),
        lambda root: {
            split: _by_json(root, f"annotations/instances_{name}.json", "images") for split, name in _TWO.items()
        },
        "coco",
    ),
    "COCO with files named by splits": Public(
        _coco_named_by_splits,
        lambda root: {
            split: _by_json(root, f"{name}_annotations.json", name)
            for split, name in {"train": "train", "test": "valid"}.items()
        },
        "coco",
    ),
    "COCO of FiftyOne": Public(
        _fiftyone_coco,
        lambda root: {split: _by_json(root, f"{name}/labels.json", f"{name}/data") for split, name in _TWO.items()},
        "coco",
    ),
    "YOLO of Roboflow": Public(
        _roboflow_yolo,
        lambda root: _read_folders(root, {"train": "train/images", "val": "valid/images", "test": "test/images"}),
        "yolo",
    ),
    "YOLO of Ultralytics, coco8": Public(
        _coco8, lambda root: _read_folders(root, {"train": "images/train", "test": "images/val"}), "yolo"
    ),
    "YOLO of Ultralytics, lists": Public(
        _ultralytics_lists,
        lambda root: _read_lists(root, {split: f"{split}.txt" for split in ("train", "val", "test")}, _labels),
        "yolo",
    ),
    "YOLO of CVAT, Ultralytics": Public(
        _cvat_ultralytics, lambda root: _read_lists(root, {"train": "train.txt", "test": "val.txt"}, _labels), "yolo"
    ),
    "YOLO of CVAT, 1.1": Public(
        _cvat_yolo, lambda root: _read_lists(root, {"train": "train.txt", "test": "valid.txt"}, _beside), "yolo"
    ),
    "YOLO Darknet of Roboflow": Public(
        _roboflow_darknet,
        lambda root: _read_folders(root, {"train": "train", "val": "valid", "test": "test"}, _beside),
        "yolo",
    ),
    "YOLO of darknet": Public(
        _darknet, lambda root: _read_lists(root, {"train": "train.txt", "test": "test.txt"}, _beside), "yolo"
    ),
    "KITTI": Public(_kitti, _read_kitti, "kitti"),
    "CSV": Public(_csv, _read_csv, "table"),
    "CSV of TensorFlow and Roboflow": Public(
        _tensorflow_csv,
        lambda root: _read_tables(
            root, {split: f"{name}/_annotations.csv" for split, name in _THREE.items()}, None, beside=True
        ),
        "table",
    ),
    "CSV of keras-retinanet": Public(
        _keras_csv,
        lambda root: _read_tables(
            root, {split: f"{name}.csv" for split, name in _TWO.items()}, ["filename", *_CORNERS, "class"]
        ),
        "table",
    ),
}
"""Layouts by a name for a person."""

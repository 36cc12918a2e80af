"""Readings of data sets without this project's code: by pycocotools, xml.etree, csv, pandas and plain text."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import cv2
import pandas as pd
from pycocotools.coco import COCO

from tests.data_layouts.photos import CLASSES, Found

TWO = {"train": "train", "test": "val"}
"""Split -> the word by which a data set of two parts calls it."""


def by_xml(root: Path, pairs: Iterable[tuple[str, str]]) -> Found:
    """Boxes of pairs of image and XML file."""
    found: Found = {}
    for file, annotation in pairs:
        found[file] = []
        for item in ElementTree.parse(root / annotation).getroot().iter("object"):
            x1, y1, x2, y2 = (float(item.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax"))
            found[file].append((item.findtext("name", ""), x1 - 1, y1 - 1, x2, y2))
    return found


def read_voc_tree(root: Path, lists: Mapping[str, str], suffix: str = ".jpg") -> dict[str, Found]:
    def pairs(name: str) -> Iterable[tuple[str, str]]:
        for stem in (root / f"ImageSets/Main/{name}.txt").read_text().split():
            yield f"JPEGImages/{stem}{suffix}", f"Annotations/{stem}.xml"

    return {split: by_xml(root, pairs(name)) for split, name in lists.items()}


def read_vocdevkit(root: Path) -> dict[str, Found]:
    trees = {year: read_voc_tree(root / f"VOCdevkit/{year}", {"train": "trainval"}) for year in ("VOC2007", "VOC2012")}
    trees["VOC2007"] |= read_voc_tree(root / "VOCdevkit/VOC2007", {"test": "test"})
    found: dict[str, Found] = {}
    for year, splits in trees.items():
        for split, own in splits.items():
            found.setdefault(split, {}).update({f"VOCdevkit/{year}/{file}": boxes for file, boxes in own.items()})
    return found


def read_flat_voc(root: Path, folders: Mapping[str, str], annotations: str = "", images: str = "") -> dict[str, Found]:
    def pairs(folder: str) -> Iterable[tuple[str, str]]:
        for path in (root / folder / annotations).glob("*.xml"):
            (image,) = (root / folder / images).glob(f"{path.stem}.[jJpP]*")
            yield str(image.relative_to(root)), str(path.relative_to(root))

    return {split: by_xml(root, pairs(folder)) for split, folder in folders.items()}


def read_lists_elsewhere(root: Path) -> dict[str, Found]:
    stems = {split: (root / f"{name}.txt").read_text().split() for split, name in TWO.items()}
    return {
        split: by_xml(root, [(f"JPEGImages/{stem}.jpg", f"Annotations/{stem}.xml") for stem in own])
        for split, own in stems.items()
    }


def by_json(root: Path, file: str, folder: str) -> Found:
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


def by_text(root: Path, images: Iterable[str], labels: Callable[[str], str], names: list[str]) -> Found:
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


def in_folder(root: Path, folder: str) -> list[str]:
    return [str(path.relative_to(root)) for path in (root / folder).glob("*.jpg")]


def labels_in_folder(file: str) -> str:
    return file.replace("images", "labels").replace(".jpg", ".txt")


def labels_beside(file: str) -> str:
    return file.replace(".jpg", ".txt")


def read_lists(root: Path, lists: Mapping[str, str], labels: Callable[[str], str]) -> dict[str, Found]:
    """By lists whose paths end in ones below the root."""

    def images(name: str) -> Iterable[str]:
        for line in (root / name).read_text().split():
            (image,) = (str(p.relative_to(root)) for p in root.rglob("*.jpg") if p.name == Path(line).name)
            yield image

    return {split: by_text(root, images(name), labels, [*CLASSES]) for split, name in lists.items()}


def read_folders(
    root: Path, folders: Mapping[str, str], labels: Callable[[str], str] = labels_in_folder
) -> dict[str, Found]:
    return {split: by_text(root, in_folder(root, name), labels, [*CLASSES]) for split, name in folders.items()}


def read_kitti(root: Path) -> dict[str, Found]:
    found: dict[str, Found] = {}
    for split, name in (("train", "train"), ("test", "val")):
        found[split] = {}
        for stem in (root / f"{name}.txt").read_text().split():
            rows = [line.split() for line in (root / f"training/label_2/{stem}.txt").read_text().splitlines()]
            boxes = [(row[0], *map(float, row[4:8])) for row in rows]
            found[split][f"training/image_2/{stem}.png"] = boxes  # type: ignore[assignment]
    return found


def read_csv(root: Path) -> dict[str, Found]:
    found: dict[str, Found] = {}
    with (root / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            boxes = found.setdefault(row["split"], {}).setdefault(row["file"], [])
            if row["class"]:
                x, y, w, h = (float(row[name]) for name in ("x", "y", "width", "height"))
                boxes.append((row["class"], x, y, x + w, y + h))
    return found


def read_tables(
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

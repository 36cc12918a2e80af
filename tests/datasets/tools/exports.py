"""Files of annotation tools, rebuilt from their documentations, each with a reading of its own by json, csv or lxml.

All hold the photos of tests.data_layouts.photos: CVAT, VoTT and LabelMe in px, Label Studio in percent, OpenImages in
shares of the sides.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from tests.data_layouts.photos import HEIGHT, PHOTOS, WIDTH, Found, Photo, put, put_photo


class Export(NamedTuple):
    """How a tool's export is written, and read anew: class, x1, y1, x2, y2 in px by path of the image."""

    write: Callable[[Path], None]
    read: Callable[[Path], Found]


def labelme(root: Path) -> None:
    for photo in PHOTOS:
        put_photo(root / f"{photo.name}.jpg")
        shapes = [
            {
                "label": name,
                "points": [[x + w, y], [x, y + h]] if index else [[x, y], [x + w, y + h]],  # any two opposite corners
                "group_id": None,
                "shape_type": "rectangle",
                "flags": {},
            }
            for index, (name, x, y, w, h) in enumerate(photo.boxes)
        ]
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": f"{photo.name}.jpg",
            "imageData": None,
            "imageHeight": HEIGHT,
            "imageWidth": WIDTH,
        }
        put(root / f"{photo.name}.json", json.dumps(content))


def read_labelme(root: Path) -> Found:
    found: Found = {}
    for path in sorted(root.glob("*.json")):
        content = json.loads(path.read_text())
        found[content["imagePath"]] = [
            (shape["label"], *map(min, *shape["points"]), *map(max, *shape["points"])) for shape in content["shapes"]
        ]
    return found


def cvat(root: Path) -> None:
    images = []
    for number, photo in enumerate(PHOTOS):
        put_photo(root / f"images/{photo.name}.jpg")
        boxes = "".join(
            f'<box label="{name}" source="manual" occluded="0" xtl="{x:.2f}" ytl="{y:.2f}" xbr="{x + w:.2f}" '
            f'ybr="{y + h:.2f}" z_order="0"></box>'
            for name, x, y, w, h in photo.boxes
        )
        images.append(
            f'<image id="{number}" name="{photo.name}.jpg" width="{WIDTH}" height="{HEIGHT}">{boxes}</image>\n'
        )
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("apple", "pear"))
    put(
        root / "annotations.xml",
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>\n{''.join(images)}</annotations>\n",
    )


def read_cvat(root: Path) -> Found:
    found: Found = {}
    for image in ElementTree.parse(root / "annotations.xml").iter("image"):
        found[f"images/{image.attrib['name']}"] = [
            (box.attrib["label"], *(float(box.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr")))
            for box in image.iter("box")
        ]
    return found


def _task(number: int, photo: Photo) -> dict[str, Any]:
    result = [
        {
            "original_width": WIDTH,
            "original_height": HEIGHT,
            "image_rotation": 0,
            "value": {
                "x": 100 * x / WIDTH,
                "y": 100 * y / HEIGHT,
                "width": 100 * w / WIDTH,
                "height": 100 * h / HEIGHT,
                "rotation": 0,
                "rectanglelabels": [name],
            },
            "id": f"r{index}",
            "from_name": "label",
            "to_name": "image",
            "type": "rectanglelabels",
            "origin": "manual",
        }
        for index, (name, x, y, w, h) in enumerate(photo.boxes)
    ]
    annotation = {"id": number, "was_cancelled": False, "result": result}
    data = {"image": f"/data/upload/1/0a1b2c3d-{photo.name}.jpg"}
    return {"id": number, "annotations": [annotation], "predictions": [], "data": data}


def label_studio(root: Path) -> None:
    for photo in PHOTOS:
        put_photo(root / f"images/0a1b2c3d-{photo.name}.jpg")
    put(root / "project-1-at-2026.json", json.dumps([_task(i, photo) for i, photo in enumerate(PHOTOS)]))


def label_studio_min(root: Path) -> None:
    tasks = []
    for number, photo in enumerate(PHOTOS):
        put_photo(root / f"{photo.name}.jpg")
        full = _task(number, photo)
        regions = [{**own["value"], "original_width": WIDTH} for own in full["annotations"][0]["result"]]
        tasks.append({"image": full["data"]["image"], "id": number, "label": regions, "annotator": 1})
    put(root / "min.json", json.dumps(tasks))


def _of_percent(value: dict[str, Any]) -> tuple[str, float, float, float, float]:
    x, width = (value[key] * WIDTH / 100 for key in ("x", "width"))
    y, height = (value[key] * HEIGHT / 100 for key in ("y", "height"))
    return value["rectanglelabels"][0], x, y, x + width, y + height


def read_label_studio(root: Path) -> Found:
    tasks = json.loads(next(root.glob("*.json")).read_text())
    return {
        f"images/{task['data']['image'].rpartition('/')[2]}": [
            _of_percent(own["value"]) for own in task["annotations"][0]["result"]
        ]
        for task in tasks
    }


def read_label_studio_min(root: Path) -> Found:
    tasks = json.loads((root / "min.json").read_text())
    return {task["image"].rpartition("-")[2]: [_of_percent(own) for own in task["label"]] for task in tasks}


def vott(root: Path) -> None:
    assets = {}
    for photo in PHOTOS:
        put_photo(root / f"{photo.name}.jpg")
        regions = [
            {
                "id": f"r{index}",
                "type": "RECTANGLE",
                "tags": [name],
                "boundingBox": {"height": h, "width": w, "left": x, "top": y},
                "points": [{"x": x, "y": y}, {"x": x + w, "y": y}, {"x": x + w, "y": y + h}, {"x": x, "y": y + h}],
            }
            for index, (name, x, y, w, h) in enumerate(photo.boxes)
        ]
        asset = {
            "format": "jpg",
            "id": f"id-{photo.name}",
            "name": f"{photo.name}.jpg",
            "path": f"file:C:/Users/me/{photo.name}.jpg",
            "size": {"width": WIDTH, "height": HEIGHT},
            "state": 2,
            "type": 1,
        }
        assets[asset["id"]] = {"asset": asset, "regions": regions, "version": "2.2.0"}
    put(root / "fruit-export.json", json.dumps({"name": "fruit", "version": "2.2.0", "tags": [], "assets": assets}))


def read_vott(root: Path) -> Found:
    found: Found = {}
    for own in json.loads((root / "fruit-export.json").read_text())["assets"].values():
        found[own["asset"]["name"]] = [
            (region["tags"][0], box["left"], box["top"], box["left"] + box["width"], box["top"] + box["height"])
            for region in own["regions"]
            for box in [region["boundingBox"]]
        ]
    return found


def openimages(root: Path) -> None:
    names = {"apple": "/m/014j1m", "pear": "/m/061_f"}
    put(root / "class-descriptions-boxable.csv", "".join(f"{code},{name}\n" for name, code in names.items()))
    header = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    rows = [header, "ffff,xclick,/m/061_f,1,0,1,0,1,0,0,0,0,0"]  # of an image that was not fetched
    for photo in PHOTOS:
        put_photo(root / f"train/{photo.name}.jpg")
        rows += [
            f"{photo.name},xclick,{names[name]},1,{x / WIDTH},{(x + w) / WIDTH},{y / HEIGHT},{(y + h) / HEIGHT}"
            + ",0" * 5
            for name, x, y, w, h in photo.boxes
        ]
    put(root / "train-annotations-bbox.csv", "\n".join(rows) + "\n")


def read_openimages(root: Path) -> Found:
    with (root / "class-descriptions-boxable.csv").open() as file:
        names = dict(csv.reader(file))
    found: Found = {}
    with (root / "train-annotations-bbox.csv").open() as file:
        for row in csv.DictReader(file):
            xs, ys = (
                [float(row[k]) * WIDTH for k in ("XMin", "XMax")],
                [float(row[k]) * HEIGHT for k in ("YMin", "YMax")],
            )
            box = (names[row["LabelName"]], xs[0], ys[0], xs[1], ys[1])
            if (root / f"train/{row['ImageID']}.jpg").is_file():
                found.setdefault(f"train/{row['ImageID']}.jpg", []).append(box)
    return found


EXPORTS = {
    "labelme": Export(labelme, read_labelme),
    "cvat": Export(cvat, read_cvat),
    "label_studio": Export(label_studio, read_label_studio),
    "label_studio JSON_MIN": Export(label_studio_min, read_label_studio_min),
    "vott": Export(vott, read_vott),
    "openimages": Export(openimages, read_openimages),
}

"""Label Studio: one JSON with all tasks, the full export or JSON_MIN; percent of the image's sides.

Of several annotations of a task the last counts that was not cancelled; predictions and drafts are not read. Tasks that
nobody annotated are passed over, and so are brushes, key points and other regions that are no boxes, polygons or
ellipses. Boxes turn about their top left corners.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from pipeline.datasets.faults import Faults
from pipeline.datasets.image_suffixes import is_image_name
from pipeline.datasets.records import Boxes, BoxFormat, one_line
from pipeline.datasets.tools.annotated import Numbers, Tool, ToolImage, ToolObject, load_json
from pipeline.datasets.tools.image_finder import ImageFinder
from pipeline.datasets.tools.shapes import around, listed, number, sized, turned
from pipeline.runtime.errors import InputError

_UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # put before the name of a file that was uploaded
_UPLOADS = re.compile(r"data/upload/[0-9]+/")  # where Label Studio keeps them, by project
_LABELS = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")


def _corners(written: Boxes, width: float, height: float) -> Boxes:
    sides = np.array([width, height])
    return np.concatenate([written[:, :2] * sides, (written[:, :2] + written[:, 2:]) * sides], axis=1) / 100


PERCENT = BoxFormat(
    ("x", "y", "width", "height"),
    _corners,
    lambda written: written[:, 2:],
    lambda written: np.concatenate(
        [np.minimum(written[:, :2], written[:, :2] + written[:, 2:]), np.abs(written[:, 2:])], axis=1
    ),
    rounding=1e-5,
)


def _parse(path: Path, finder: ImageFinder, faults: Faults) -> list[ToolImage] | None:
    content = load_json(path)
    if not isinstance(content, list) or not all(isinstance(task, dict) for task in content):
        return None
    if content and not any(_is_annotated(task) or _regions_of_min(task) for task in content):
        return None
    images = []
    for index, task in enumerate(content):
        with faults.going_on():
            images.append(_image(task, f"{path}: task {one_line(task.get('id', index))}", finder, faults))
    return images


def _is_annotated(task: Mapping[str, Any]) -> bool:
    return isinstance(task.get("data"), dict) and bool({"annotations", "completions"} & {*task})


def _image(task: dict[str, Any], where: str, finder: ImageFinder, faults: Faults) -> ToolImage:
    name = _image_name(task["data"] if isinstance(task.get("data"), dict) else task, where, finder)
    annotations = task.get("annotations", task.get("completions"))
    if isinstance(annotations, list):
        done = [own for own in annotations if isinstance(own, dict) and not own.get("was_cancelled")]
        if not done:
            return ToolImage("", where, (), passed_over=[("task", "without an annotation")])
        regions = listed(done[-1], "result", where)
    elif isinstance(task.get("data"), dict):  # as of tasks that are to be imported
        return ToolImage("", where, (), passed_over=[("task", "without an annotation")])
    else:
        regions = _regions_of_min(task)
    labelled = {_id(region) for region in regions if _labels(region)} - {None}
    objects, passed_over = [], []
    size = None
    for index, region in enumerate(regions):
        with faults.going_on():
            labels = _labels(region)
            if not labels:
                if _id(region) not in labelled:
                    passed_over.append(("region", f"of type {region.get('type')}"))
                continue
            size = sized(region.get("original_width"), region.get("original_height")) or size
            box, drawn_as = _box(region, f"{where}, region {index}", size)
            if box is None:
                passed_over.append(("region", f"of type {region.get('type')}"))
                continue
            objects += [ToolObject(label, box, drawn_as, index=index) for label in labels]
    return ToolImage(name, where, objects, size, passed_over)


def _image_name(data: Mapping[str, Any], where: str, finder: ImageFinder) -> str:
    """The name of the image that a task shows, as a path: URLs and Label Studio's own places are taken apart."""
    texts = [data.get("image"), *(value for key, value in data.items() if key != "image")]
    names, broken = [], ""
    for text in texts:
        if isinstance(text, str) and "." in text:
            try:
                names.append(_path_of(text))
            except ValueError:  # of a host in brackets that is not an IPv6 address
                broken = broken or text
    names = [name for name in names if name.strip("/")]
    images = (name for name in names if is_image_name(name) or finder.has(name.rpartition("/")[2]))
    name = next(images, "" if broken else next(iter(names), ""))
    if not name and broken:
        raise InputError(f"{where}: {broken[:60]!r} is not a URL; correct it")
    if not name:
        raise InputError(f"{where}: its data name no image; write its URL or path as image")
    last = name.rpartition("/")[2]
    plain = _UPLOADED.sub("", last, count=1)
    if plain != last and not finder.has(last) and finder.has(plain):
        return name.removesuffix(last) + plain
    return name


def _path_of(text: str) -> str:
    """The path in a URL; it begins with "/" where its folders are those of another machine."""
    url = urlsplit(text)
    local = parse_qs(url.query).get("d", [""])[0]
    path = local or unquote(url.path)
    bare = _UPLOADS.sub("", path.lstrip("/"))
    return f"/{bare}" if "/" in bare and (local or url.netloc or path.startswith("/")) else bare


def _id(region: Mapping[str, Any]) -> str | int | None:
    value = region.get("id")
    return value if isinstance(value, str | int) else None


def _value(region: Mapping[str, Any]) -> Mapping[str, Any]:
    value = region.get("value", region)  # JSON_MIN has no value of its own
    return value if isinstance(value, dict) else {}


def _labels(region: Mapping[str, Any]) -> list[str]:
    value = _value(region)
    found = (value[key] for key in _LABELS if isinstance(value.get(key), list))
    return [label for label in next(found, ()) if isinstance(label, str)]


def _regions_of_min(task: Mapping[str, Any]) -> list[Any]:
    """The regions of a task of JSON_MIN, under the name that the labels have in the project."""
    return [
        region
        for value in task.values()
        if isinstance(value, list)
        for region in value
        if isinstance(region, dict) and _labels(region)
    ]


def _box(region: Mapping[str, Any], where: str, size: tuple[float, float] | None) -> tuple[Numbers | None, str]:
    """(x, y, width, height) in percent as written or around the region, and what that is where no box."""
    value = _value(region)
    if "points" in value:
        return _xywh(around([*_pairs(value["points"])], where)), "polygon"
    if "radiusX" in value:
        x, y, rx, ry = (number(value.get(key), key, where) for key in ("x", "y", "radiusX", "radiusY"))
        box = (x - rx, y - ry, x + rx, y + ry)
        return _xywh(_turned(box, value, (x, y), where, size)), "ellipse"
    if "width" not in value:
        return None, ""
    if not value.get("rotation"):
        return (value.get("x"), value.get("y"), value.get("width"), value.get("height")), ""
    x, y, width, height = (number(value.get(key), key, where) for key in ("x", "y", "width", "height"))
    return _xywh(_turned((x, y, x + width, y + height), value, (x, y), where, size)), "rotated box"


def _turned(
    box: Numbers, value: Mapping[str, Any], pivot: tuple[float, float], where: str, size: tuple[float, float] | None
) -> Numbers:
    """The box around a turned one; percents of two sides are turned as px."""
    angle = number(value.get("rotation") or 0, "rotation", where)
    if not angle:
        return box
    if size is None:
        raise InputError(f"{where}: is rotated, and the task has no original_width and original_height; add them")
    across, down = size[0] / 100, size[1] / 100
    x1, y1, x2, y2 = box
    px = (x1 * across, y1 * down, x2 * across, y2 * down)
    x1, y1, x2, y2 = turned(px, angle, (pivot[0] * across, pivot[1] * down), where)
    return x1 / across, y1 / down, x2 / across, y2 / down


def _xywh(box: Numbers) -> Numbers:
    x1, y1, x2, y2 = box
    return x1, y1, x2 - x1, y2 - y1


def _pairs(points: Any) -> Iterator[tuple[Any, Any]]:
    for point in points if isinstance(points, list) else ():
        yield (point[0], point[1]) if isinstance(point, list) and len(point) == 2 else (None, None)


LABEL_STUDIO = Tool("label_studio", "Label Studio", ".json", PERCENT, _parse)

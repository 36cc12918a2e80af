"""LabelMe: a JSON file an image, beside it or not; `shapes` in px from the image's top left corner.

Rectangles have two opposite corners, or four, circles their centre and a point on them, masks their first and their
last pixel.
Points, lines and strips of lines enclose nothing and are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.datasets.faults import Faults
from pipeline.datasets.records import XYXY
from pipeline.datasets.tools.annotated import Tool, ToolImage, ToolObject, load_json
from pipeline.datasets.tools.image_finder import ImageFinder
from pipeline.datasets.tools.shapes import around, listed, numeric, sized, text_of
from pipeline.runtime.errors import InputError

_OPEN = {"point", "points", "line", "linestrip"}
# The last three are those of later versions and of X-AnyLabeling, drawn by their corners.
_CLOSED = {"polygon", "rectangle", "circle", "mask", "oriented_rectangle", "rotation", "quadrilateral"}


def _parse(path: Path, finder: ImageFinder, faults: Faults) -> list[ToolImage] | None:
    content = load_json(path)
    if not isinstance(content, dict) or "shapes" not in content or "imagePath" not in content:
        return None
    objects, passed_over = [], []
    for index, shape in enumerate(listed(content, "shapes", str(path))):
        where = f"{path}: shapes[{index}]"
        with faults.going_on():
            kind = _kind(shape, where)
            if kind in _OPEN:
                passed_over.append(("shape", f"of type {kind}"))
                continue
            points = list(_points(shape, kind, where))
            drawn_as = "" if kind == "rectangle" else kind
            objects.append(ToolObject(text_of(shape, "label", where), around(points, where), drawn_as, index=index))
    size = sized(content.get("imageWidth"), content.get("imageHeight"))
    return [ToolImage(text_of(content, "imagePath", str(path)), str(path), objects, size, passed_over)]


def _kind(shape: dict[str, Any], where: str) -> str:
    kind = shape.get("shape_type")
    if kind is None or kind == "":  # as in the first versions' files
        return "polygon"
    if not isinstance(kind, str) or kind not in _OPEN | _CLOSED:
        raise InputError(f"{where}: shape_type {str(kind)[:40]!r} is none of LabelMe's; write e.g. polygon")
    return kind


def _points(shape: dict[str, Any], kind: str, where: str) -> Iterator[tuple[Any, Any]]:
    pairs = [tuple(point) if len(point) == 2 else (None, None) for point in listed(shape, "points", where, list)]
    points = numeric(pairs, where)
    if kind == "circle" and len(points) == 2:
        (x, y), (edge_x, edge_y) = points
        radius = math.hypot(edge_x - x, edge_y - y)
        points = [(x - radius, y - radius), (x + radius, y + radius)]
    if kind == "mask" and points:  # LabelMe takes mask[y1 : y2 + 1, x1 : x2 + 1]
        points.append((max(x for x, _ in points) + 1, max(y for _, y in points) + 1))
    yield from points


LABELME = Tool("labelme", "LabelMe", ".json", XYXY, _parse)

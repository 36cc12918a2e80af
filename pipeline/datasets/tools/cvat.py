"""CVAT for images 1.1: one annotations.xml with an <image> each; px from the image's top left corner.

Boxes turn about their centres. Polylines, points, skeletons, cuboids and tags are no boxes and are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml
import defusedxml.ElementTree

from pipeline.datasets.faults import Faults
from pipeline.datasets.records import XYXY, one_line, to_float
from pipeline.datasets.tools.annotated import Numbers, Tool, ToolImage, ToolObject
from pipeline.datasets.tools.image_finder import ImageFinder
from pipeline.datasets.tools.shapes import around, number, sized, turned
from pipeline.runtime.errors import InputError

_PASSED_OVER = {"polyline", "points", "skeleton", "cuboid", "tag"}
_SIDES = ("xtl", "ytl", "xbr", "ybr")


def _parse(path: Path, finder: ImageFinder, faults: Faults) -> list[ToolImage] | None:
    try:
        root = defusedxml.ElementTree.parse(path).getroot()
    except defusedxml.DefusedXmlException as error:
        raise InputError(
            f"{path}: refused, it declares XML entities ({one_line(error)}); remove its DOCTYPE"
        ) from error
    except (ParseError, ValueError, LookupError, OSError) as error:
        raise InputError(f"{path}: malformed XML ({one_line(error)}); fix or replace the file") from error
    if root is None or root.tag != "annotations":
        return None
    if root.find("track") is not None:
        raise InputError(f"{path}: is CVAT's format for videos, without images; export it as CVAT for images 1.1")
    images = []
    for number_of, image in enumerate(root.findall("image")):
        with faults.going_on():
            images.append(_image(image, f"{path}: image {number_of}", faults))
    return images


def _image(image: Element, where: str, faults: Faults) -> ToolImage:
    name = image.get("name", "")
    where = f"{where} ({name[-60:]!r})"
    objects, passed_over = [], []
    for index, shape in enumerate(image):
        if shape.tag in _PASSED_OVER:
            passed_over.append(("shape", f"of type {shape.tag}"))
            continue
        with faults.going_on():
            box, drawn_as = _box(shape, f"{where}, object {index}")
            label = shape.get("label", "")
            if not label.strip():
                raise InputError(f"{where}, object {index}: has no label; correct it")
            objects.append(ToolObject(label, box, drawn_as, index=index))
    size = sized(to_float(image.get("width", "")), to_float(image.get("height", "")))
    return ToolImage(name, where, objects, size, passed_over)


def _box(shape: Element, where: str) -> tuple[Numbers, str]:
    """(x1, y1, x2, y2) as written or around the shape, and what the shape is where no box."""

    def side(key: str) -> float:
        return number(shape.get(key, ""), key, where)

    angle = number(shape.get("rotation", "0"), "rotation", where)
    match shape.tag:
        case "box" if not angle:
            return (shape.get("xtl"), shape.get("ytl"), shape.get("xbr"), shape.get("ybr")), ""
        case "box":
            x1, y1, x2, y2 = (side(key) for key in _SIDES)
            return turned((x1, y1, x2, y2), angle, ((x1 + x2) / 2, (y1 + y2) / 2), where), "rotated box"
        case "polygon":
            return around(_pairs(shape.get("points", "").split(";")), where), "polygon"
        case "mask":
            left, top = side("left"), side("top")
            return (left, top, left + side("width"), top + side("height")), "mask"
        case "ellipse":
            x, y, rx, ry = side("cx"), side("cy"), side("rx"), side("ry")
            return turned((x - rx, y - ry, x + rx, y + ry), angle, (x, y), where), "ellipse"
    raise InputError(f"{where}: is a {shape.tag!r}, which is not a shape of CVAT's; correct it")


def _pairs(texts: Iterable[str]) -> list[tuple[str, str]]:
    return [(x, y) for x, _, y in (text.partition(",") for text in texts if text.strip())]


CVAT = Tool("cvat", "CVAT", ".xml", XYXY, _parse)

"""COCO's two forms: a whole data set with a score in each annotation, which names images and classes; and a list of
results, whose ids mean something beside the annotations that they were made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.datasets.coco_ids import Id, id_of
from pipeline.datasets.file_names import printable
from pipeline.datasets.tools.annotated import load_json
from pipeline.judging.found import Found
from pipeline.runtime.errors import InputError

_MOST_LISTED = 10
Names = tuple[Mapping[Id, str], Mapping[Id, str]]
"""Of ids: the names of images, and of classes."""


def read_coco_detections(path: Path, names: Callable[[], Names]) -> Found:
    """Read a JSON file.

    Args:
        names: what the ids of a list of results mean; called only if the file is such a list.

    Raises:
        InputError: it is not JSON or is of neither form, or a detection is faulty.
    """
    content = load_json(path)
    if isinstance(content, dict):
        items = _list(content, "annotations", path)
        return _rows(path, "COCO annotations with scores", items, names_in(content, path), "the file's")
    if not isinstance(content, list):
        raise InputError(f"{path}: is neither a list of COCO results nor a COCO data set; give one of these")
    return _rows(path, "COCO results", content, names() if content else ({}, {}), "the data's")


def names_in(content: Mapping[str, Any], path: Path) -> Names:
    """Images and categories of a COCO data set.

    Raises:
        InputError: a list is missing, or one of its items has no id or no name.
    """
    return _named(content, "images", "file_name", path), _named(content, "categories", "name", path)


def _named(content: Mapping[str, Any], key: str, name: str, path: Path) -> dict[Id, str]:
    found: dict[Id, str] = {}
    for number, item in enumerate(_list(content, key, path)):
        identity = id_of(item.get("id")) if isinstance(item, dict) else None
        if identity is None or not isinstance(item.get(name), str):
            raise InputError(f"{path}: {key}[{number}] has no id or no {name}; add it")
        found[identity] = item[name]
    return found


def _list(content: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    items = content.get(key)
    if not isinstance(items, list):
        raise InputError(f"{path}: has no list {key!r}; give a COCO data set with scores, or a list of COCO results")
    return items


def _rows(path: Path, form: str, items: list[Any], names: Names, whose: str) -> Found:
    found = Found(form)
    images, classes = names
    for number, item in enumerate(items):
        where = f"{path}: detection {number}"
        if not isinstance(item, dict):
            raise InputError(f"{where} is not an object with image_id, category_id, bbox and score; correct it")
        if "score" not in item:
            raise InputError(f"{where} has no score, so the file is ground truth; give detections")
        image, category = id_of(item.get("image_id")), id_of(item.get("category_id"))
        if category is None or category not in classes:
            raise InputError(
                f"{where}: category_id {item.get('category_id')!r} is not among {whose} categories "
                f"({_listed(classes)}); correct it"
            )
        if image is None:
            raise InputError(f"{where}: image_id {item.get('image_id')!r} is not an id; correct it")
        box = item.get("bbox")
        corners = box if isinstance(box, list) and len(box) == 4 else [None] * 4
        found.add(where, images.get(image, f"image_id {image}"), classes[category], item["score"], _xyxy(corners))
    return found


def _listed(classes: Mapping[Id, str]) -> str:
    shown = ", ".join(f"{key} {name}" for key, name in islice(classes.items(), _MOST_LISTED))
    more = f" and {len(classes) - _MOST_LISTED} more" if len(classes) > _MOST_LISTED else ""
    return printable(" ".join((shown + more).split())) if classes else "there are none"


def _xyxy(box: list[Any]) -> list[Any]:
    try:
        return [box[0], box[1], box[0] + box[2], box[1] + box[3]]
    except (TypeError, OverflowError):
        return [None] * 4

"""COCO: a JSON file a split, beside its images or in a folder of its own, or one file of all."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.data_layouts.folders import files_in, folders_in
from pipeline.data_layouts.layout import Layout, Miss
from pipeline.datasets.base import Split
from pipeline.datasets.class_names import BACKGROUND
from pipeline.datasets.coco import image_folder
from pipeline.datasets.records import one_line
from pipeline.datasets.split_names import split_in
from pipeline.datasets.written_names import WrittenNames
from pipeline.runtime.errors import InputError

# Folders of a file's images, as dataset.coco.images names them, the likelier first.
_IMAGES = (
    "{name}",
    "{folder}",
    "images/{name}",
    "{split}",
    "images/{split}",
    "images",
    "{folder}/images",
    "{folder}/data",
    ".",
    "data",
    "JPEGImages",
    "imgs",
    "photos",
)
_OF_OTHER_TASKS = ("captions", "person_keypoints", "panoptic", "stuff", "image_info")
_MOST_FILES = 200
_TRIED = 20  # images of a file that are looked for


@dataclass(frozen=True)
class _File:
    """An instances file, in a few words."""

    path: str
    images: list[str]
    used: set[Any]  # ids of categories that annotations have
    categories: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def split(self) -> Split | None:
        """By the file's name, or else by its folder's."""
        folder, _, name = self.path.rpartition("/")
        return split_in(name) or split_in(folder.rpartition("/")[2])


def coco_layouts(root: Path) -> Iterator[Layout | Miss]:
    """COCO's layouts that the root may have, the likelier first; why there is none where JSON files look like it."""
    faults: list[Miss] = []
    files = list(_files(root, faults))
    if not files:
        yield from faults[:1]
        return
    by_split: dict[Split, list[_File]] = {}
    for file in files:
        if file.split:
            by_split.setdefault(file.split, []).append(file)
    if "train" not in by_split:
        by_split = {"train": files}
    several = next(((split, own) for split, own in by_split.items() if len(own) > 1), None)
    if several:
        split, own = several
        names = ", ".join(file.path for file in own[:4])
        yield Miss("coco", f"{len(own)} JSON files may be {split} ({names}); name one: dataset.coco.{split}=[...]")
        return
    taken = {split: own[0] for split, own in by_split.items() if own[0].used}
    if "train" not in taken:
        yield Miss("coco", f"{by_split['train'][0].path} has no annotations")
        return
    pattern = _pattern(root, list(taken.values()))
    if pattern is None:
        lost = next((file for file in taken.values() if _pattern(root, [file]) is None), taken["train"])
        example = lost.images[0][:80] if lost.images else "it lists none"
        yield Miss(
            "coco", f"no folder holds the images of {lost.path} ({example}); name it: dataset.coco.images=FOLDER"
        )
        return
    kind = "COCO with a JSON file a split" if len(taken) > 1 else "COCO in one JSON file"
    settings: dict[str, Any] = {"images": pattern}
    if (classes := _classes(list(taken.values()))) is not None:
        settings["classes"] = classes
    yield Layout("coco", kind, {split: [file.path] for split, file in taken.items()}, settings, labelled=True)


def _files(root: Path, faults: list[Miss]) -> Iterator[_File]:
    """The instances files; adds to `faults` what is no JSON."""
    folders = ["annotations", "", *folders_in(root)]
    names = dict.fromkeys(
        "/".join(filter(None, (folder, name))) for folder in folders for name in files_in(root / folder, ".json")
    )
    own = [name for name in names if not _stem(name).startswith(_OF_OTHER_TASKS)]
    instances = [name for name in own if _stem(name).startswith("instances")]
    for name in itertools.islice(instances or own, _MOST_FILES):
        try:
            file = _read(root, name)
        except (OSError, ValueError, RecursionError) as error:
            faults.append(Miss("coco", f"{name}: not valid JSON ({one_line(error)}); mend or replace the file"))
            continue
        if file is not None:
            yield file


def _stem(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _read(root: Path, name: str) -> _File | None:
    """A file's images and categories; None where it is no instances file.

    Raises:
        OSError, ValueError, RecursionError: it is no JSON.
    """
    images: list[str] = []
    used: set[Any] = set()

    def take(item: dict[str, Any]) -> Any:
        """An object of the JSON: annotations and images are not kept, but for what is asked of them."""
        if "category_id" in item and "image_id" in item:
            if isinstance(item["category_id"], int | float | str):
                used.add(item["category_id"])
            return None
        name, url = item.get("file_name"), item.get("coco_url")
        if isinstance(name, str) or isinstance(url, str):
            if len(images) < _TRIED:
                images.append(name if isinstance(name, str) else "/".join(str(url).split("/")[-2:]))  # as LVIS's tools
            return None
        return item

    content = json.loads((root / name).read_bytes(), object_hook=take)  # in UTF-8, 16 or 32
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations", "categories")
    ):
        return None
    return _File(name, images, used, [item for item in content["categories"] if isinstance(item, dict)])


def _pattern(root: Path, files: Sequence[_File]) -> str | None:
    """Where the images of all files lie."""
    others = [name for name in folders_in(root) if name not in _IMAGES and not {"{", "}"} & set(name)]
    for pattern in (*_IMAGES, *others, *(f"{name}/{{name}}" for name in others)):
        if all(_holds(root, pattern, file) for file in files):
            return pattern
    return None


def _holds(root: Path, pattern: str, file: _File) -> bool:
    folder = image_folder(pattern, file.path)
    names = WrittenNames(root, file.images)
    for image in file.images:
        try:
            found = names.find(image, file.path, "" if folder == "." else folder)
        except InputError:  # which reading will report
            continue
        if os.path.isfile(root / found.path):
            return True
    return False


def _classes(files: Sequence[_File]) -> list[str] | None:
    """Names of the categories without a group of all others that has no annotation, as Roboflow puts it first; None
    where there is no such group."""
    used = set().union(*(file.used for file in files))
    categories = {item["name"]: item for file in files for item in file.categories if isinstance(item.get("name"), str)}
    groups = {
        name
        for name, item in categories.items()
        if not (isinstance(item.get("id"), int | float | str) and item["id"] in used)
        and len(categories) > 1
        and all(other.get("supercategory") == name for key, other in categories.items() if key != name)
    }
    if not groups:
        return None
    return [name for name in categories if name not in groups and name.casefold() != BACKGROUND]

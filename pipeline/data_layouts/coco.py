"""COCO: a JSON file a split, beside its images or in a folder of its own, or one file of all."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.data_layouts.folders import files_in, folders_in
from pipeline.data_layouts.layout import Layout, Miss, left_out
from pipeline.datasets.base import SPLITS, Split
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
    "{above}/images/{name}",
    "{above}/images/{split}",
    "{above}/images",
    "{above}/{name}",
    "{above}/{split}",
    "{above}/data",
    "{above}/JPEGImages",
    "{above}",
)
_OF_OTHER_TASKS = ("captions", "person_keypoints", "panoptic", "stuff", "image_info")
_MOST_FILES, _MOST_FOLDERS = 200, 300
_TRIED = 20  # images of a file that are looked for
_START = 1024  # bytes of a file that is not JSON
_Faults = dict[str, Miss]  # by the path of the file


@dataclass(frozen=True)
class _File:
    """An instances file, in a few words."""

    path: str
    images: list[str]
    used: set[Any]  # ids of categories that annotations have
    categories: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def split(self) -> Split | None:
        return _split_of(self.path)


def coco_layouts(root: Path, given: Mapping[str, Any] = MappingProxyType({})) -> Iterator[Layout | Miss]:
    """COCO's layouts that the root may have, the likelier first; why there is none where JSON files look like it.

    Args:
        root: the data root.
        given: settings of `dataset.coco` that the user gives; the others are found.
    """
    of_others: _Faults = {}
    files = _files(root, of_others)
    if broken := next((path for path in of_others if _is_of_split(root, path, given)), None):
        yield of_others[broken]  # else the split would be left out
        return
    of_named: _Faults = {}
    named = {split: _named(root, given[split], files, of_named) for split in SPLITS if given.get(split)}
    faults = [*of_named.values(), *of_others.values()]
    if not files and not any(named.values()):
        yield from faults[:1]
        return
    by_split: dict[Split, list[_File]] = {}
    taken_by_name = [file for own in named.values() for file in own]
    others = [file for file in files if file not in taken_by_name]
    for file in others:
        if file.split:
            by_split.setdefault(file.split, []).append(file)
    if "train" not in by_split and "train" not in named:
        by_split = {"train": others}
    by_split = {**by_split, **named}
    several = next(((split, own) for split, own in by_split.items() if len(own) > 1 and split not in named), None)
    if several:
        split, own = several
        names = ", ".join(file.path for file in own[:4])
        yield Miss("coco", f"{len(own)} JSON files may be {split} ({names}); name one: dataset.coco.{split}=[...]")
        return
    taken = {split: own for split, own in by_split.items() if any(file.used for file in own)}
    if "train" not in taken:
        lacking = by_split["train"][0].path if by_split["train"] else "train"
        yield from (faults[:1] or [Miss("coco", f"{lacking} has no annotations")])
        return
    used = [file for own in taken.values() for file in own]
    images = given.get("images")
    pattern = _pattern(root, used, [images] if isinstance(images, str) else None)
    if pattern is None:
        lost = next((file for file in used if _pattern(root, [file]) is None), used[0])
        example = lost.images[0][:80] if lost.images else "it lists none"
        yield Miss(
            "coco", f"no folder holds the images of {lost.path} ({example}); name it: dataset.coco.images=FOLDER"
        )
        return
    kind = "COCO with a JSON file a split" if len(taken) > 1 else "COCO in one JSON file"
    empty = [file.path for split, own in by_split.items() for file in own if split not in taken]
    kind += "".join(f"; {path} has no annotations and is left out" for path in empty)
    kind += left_out([file.path for file in others if file.used and not any(file in own for own in by_split.values())])
    settings: dict[str, Any] = {"images": pattern}
    if (classes := _classes(used)) is not None:
        settings["classes"] = classes
    is_below = all(file.path.count("/") > 1 for file in used)
    paths = {split: [file.path for file in own] for split, own in taken.items()}
    yield Layout("coco", kind, paths, settings, labelled=True, is_below=is_below)


def _split_of(path: str) -> Split | None:
    """By the file's name, or else by that of the nearest folder that names one."""
    return next(filter(None, map(split_in, reversed(path.split("/")))), None)


def _is_of_split(root: Path, path: str, given: Mapping[str, Any]) -> bool:
    """Whether a file that is not JSON looks like the annotations of a split whose files the user does not name; a log
    of the training, of a JSON object per line, does not."""
    split = _split_of(path)
    if split is None or given.get(split):
        return False
    stem = _stem(path).removesuffix(".json")
    if stem.startswith("instances") or "annotations" in stem or stem.endswith(".coco"):
        return True
    if split_in(stem) and stem.rstrip("0123456789").isalpha():  # train.json, val2017.json
        return True
    try:
        with (root / path).open("rb") as file:
            return b'"images"' in file.read(_START).replace(b"\0", b"")  # of UTF-16 too
    except OSError:
        return False


def _named(root: Path, names: Any, files: Sequence[_File], faults: _Faults) -> list[_File]:
    """The files that a setting names; those that are not there are left out, for the reader to report."""
    known = {file.path: file for file in files}
    texts = [name for name in (names if isinstance(names, list) else [names]) if isinstance(name, str)]
    own = (known[name] if name in known else _tried(root, name, faults) for name in texts)
    return [file for file in own if file is not None]


def _files(root: Path, faults: _Faults) -> list[_File]:
    """The instances files in the root and its folders; where there are none, those a folder further down. Adds to
    `faults` what is not JSON."""
    inside = folders_in(root)
    further = (f"{above}/{name}" for above in inside for name in folders_in(root / above))
    near = _files_in(root, ["annotations", "", *inside], faults)
    return near or _files_in(root, [*itertools.islice(further, _MOST_FOLDERS)], faults)


def _files_in(root: Path, folders: Sequence[str], faults: _Faults) -> list[_File]:
    names = dict.fromkeys(
        "/".join(filter(None, (folder, name))) for folder in folders for name in files_in(root / folder, ".json")
    )
    own = [name for name in names if not _stem(name).startswith(_OF_OTHER_TASKS)]
    instances = [name for name in own if _stem(name).startswith("instances")]
    tried = (_tried(root, name, faults) for name in itertools.islice(instances or own, _MOST_FILES))
    return [file for file in tried if file is not None]


def _tried(root: Path, name: str, faults: _Faults) -> _File | None:
    try:
        return _read(root, name)
    except FileNotFoundError:
        faults[name] = Miss("coco", f"{name}: no such annotation file; correct dataset.coco")
        return None
    except OSError as error:
        faults[name] = Miss("coco", f"{name}: cannot be read ({error.strerror}); make it readable")
        return None
    except (ValueError, RecursionError) as error:
        faults[name] = Miss("coco", f"{name}: not valid JSON ({one_line(error)}); fix or replace the file")
        return None


def _stem(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _read(root: Path, name: str) -> _File | None:
    """A file's images and categories; None where it is not an instances file.

    Raises:
        OSError, ValueError, RecursionError: it is not JSON.
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
    keys = ("images", "categories") if split_in(name) else ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in keys):
        return None
    return _File(name, images, used, [item for item in content["categories"] if isinstance(item, dict)])


def _pattern(root: Path, files: Sequence[_File], given: Sequence[str] | None = None) -> str | None:
    """Where the images of all files lie; of the given patterns, where there are some."""
    others = [name for name in folders_in(root) if name not in _IMAGES and not {"{", "}"} & set(name)]
    for pattern in given or (*_IMAGES, *others, *(f"{name}/{{name}}" for name in others)):
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

"""YOLO: by its own settings file (data.yaml, or darknet's obj.data), or by its folders and a file of names."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.data_layouts.folders import called, files_in, folders_in, has_image
from pipeline.data_layouts.layout import Layout, Miss, by_split, left_out
from pipeline.datasets.base import SPLITS, Split
from pipeline.datasets.listed_paths import ListedPaths
from pipeline.datasets.records import read_text
from pipeline.datasets.yolo_names import read_names
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import parse_yaml

_KEYS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_MOST = 1 << 20  # bytes of a settings file
_LIKELY = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


def yolo_layouts(root: Path) -> Iterator[Layout | Miss]:
    """YOLO's layouts that the root may have, the likelier first; why there is none where labels look like it."""
    yamls = sorted(files_in(root, ".yaml", ".yml"), key=lambda name: (name.lower() not in _LIKELY, name))
    settings = {name: _yaml(root / name) for name in yamls}
    faults = [f"{name}: {fault}" for name, fault in settings.items() if isinstance(fault, str) and name in _LIKELY]
    contents = {name: content for name, content in settings.items() if isinstance(content, dict)}
    declared = False
    for name, content in contents.items():
        splits = _places(root, content, content.get("path"))
        if "train" in splits:
            declared |= len(splits) > 1
            yield Layout("yolo", f"YOLO by its {name}{_not_there(root, content)}", splits, {"names": name})
        elif content.get("train"):
            faults.append(f"{name}: no images are where its train says ({str(content['train'])[:80]}); correct it")
    for name in files_in(root, ".data"):
        content = _darknet(root / name)
        names, splits = ListedPaths(root).find(content.get("names", "")), _places(root, content, None)
        if "train" in splits and os.path.isfile(root / names):
            declared |= len(splits) > 1
            yield Layout("yolo", f"YOLO by darknet's {name}", splits, {"names": names})
    yield from (Miss("yolo", fault) for fault in faults)
    for what, splits in _folders(root):
        if (faults or declared) and len(splits) == 1:
            continue  # a file declares splits
        names_files = [*contents, *_names_files(root, splits["train"][0])]
        for name in names_files:
            yield Layout("yolo", what, splits, {"names": name})
        if not names_files and not faults and _has_labels(root, splits["train"]):
            where = splits["train"][0]
            yield Miss("yolo", f"no file names the classes of the labels of {where}; write data.yaml with names")


def _names_files(root: Path, place: str) -> list[str]:
    """Texts of class names in the root, and where images and labels of a place lie."""
    labels = "/".join("labels" if part == "images" else part for part in place.split("/"))
    found = []
    for folder in ("", "labels", labels, place):
        there = files_in(root / folder, ".names", ".labels")
        there += [name for name in files_in(root / folder, ".txt") if _lists_names(root / folder / name)]
        found += [posixpath.normpath(posixpath.join(folder, name)) for name in there]
    return list(dict.fromkeys(found))


def _folders(root: Path) -> Iterator[tuple[str, dict[Split, list[str]]]]:
    """Lists of images, such as train.txt; folders of images by their names, as images/train or train/images; or all in
    one."""
    images = called(root, ("images", "obj_train_data"))
    lists = by_split(files_in(root, ".txt"))
    if "train" in lists:
        yield "YOLO with a list of images a split", lists
    for pattern, above in (("images/{}", "images"), ("{}/images", ""), ("{}", "")):
        there = folders_in(root / above)
        named = by_split(there)
        splits = {split: [pattern.format(name) for name in names] for split, names in named.items()}
        splits = {split: [p for p in own if has_image(root / p, deep=True)] for split, own in splits.items()}
        splits = {split: own for split, own in splits.items() if own}
        if "train" in splits:
            taken = {place for own in splits.values() for place in own}
            others = [place for name in there if (place := pattern.format(name)) not in taken]
            beside = left_out([place for place in others if has_image(root / place) and _has_labels(root, [place])])
            yield f"YOLO with a folder of images a split ({pattern.format('SPLIT')}){beside}", splits
    if images and has_image(root / images, deep=True):
        yield "YOLO without splits", {"train": [images]}
    if has_image(root, deep=True):
        yield "YOLO without splits", {"train": ["."]}


def _places(root: Path, content: Mapping[str, Any], base: Any) -> dict[Split, list[str]]:
    """The folders and lists of a settings file that are there and hold images, without a split that repeats train."""
    found: dict[Split, list[str]] = {}
    for key, split in _KEYS.items():
        value = content.get(key)
        texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str) and text]
        places = [place for text in texts if (place := _place(root, text, base)) is not None]
        if places and places != found.get("train") and split not in found:
            found[split] = places
    return {split: found[split] for split in SPLITS if split in found}


def _not_there(root: Path, content: Mapping[str, Any]) -> str:
    """A clause for each split that a settings file declares at a place where no images are."""
    texts = {key: text for key in _KEYS if isinstance(text := content.get(key), str) and text}
    lost = {key: text for key, text in texts.items() if _place(root, text, content.get("path")) is None}
    return "".join(f"; its {key} ({text[:80]}) has no images and is left out" for key, text in lost.items())


def _place(root: Path, text: str, base: Any) -> str | None:
    paths = ListedPaths(root)
    for path in (posixpath.join(base, text), text) if isinstance(base, str) and base else (text,):
        place = paths.find(path) or "."
        if os.path.isfile(root / place) or (os.path.isdir(root / place) and has_image(root / place, deep=True)):
            return place
    return None


def _yaml(path: Path) -> dict[str, Any] | str | None:
    """The content of a YAML file that names classes, all values as texts; what is wrong with it; None of another."""
    try:
        if path.stat().st_size > _MOST:
            return None
        content = parse_yaml(read_text(path, "save it as UTF-8"), path, texts=True)
    except OSError:
        return None
    except InputError as error:
        return str(error).removeprefix(f"{path}: ")
    return content if isinstance(content, dict) and content.get("names") else None


def _darknet(path: Path) -> dict[str, str]:
    """The lines `key = value` of a settings file of darknet."""
    try:
        lines = read_text(path, "").splitlines() if path.stat().st_size <= _MOST else []
    except (OSError, InputError):
        return {}
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def _lists_names(path: Path) -> bool:
    """Whether a text is a list of class names by its own name, such as classes.txt or obj_names.txt."""
    words = path.stem.lower().replace("_", " ").replace("-", " ").split()
    if not {"classes", "names", "labels", "class", "predefined"} & set(words):
        return False
    try:
        return bool(read_names(path).names)
    except InputError:
        return False


def _has_labels(root: Path, places: list[str]) -> bool:
    """Whether a text of numbers lies where the labels of a place would."""
    place = root / places[0]
    folders = [Path(*("labels" if part == "images" else part for part in place.relative_to(root).parts))]
    for folder in (root / folders[0], place) if os.path.isdir(place) else ():
        for name in files_in(folder, ".txt")[:3]:
            try:
                fields = read_text(folder / name, "").split("\n")[0].split()
                if len(fields) >= 5 and all(float(field) >= 0 for field in fields):
                    return True
            except (InputError, ValueError):
                continue
    return False

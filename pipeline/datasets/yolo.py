"""YOLO: a txt beside each image, one object a line: class index, x and y of the centre, width and height, all as shares
of the image's sides. Labels of a/images/b.jpg stand in a/labels/b.txt; without a folder "images", beside the image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.datasets.base import Split
from pipeline.datasets.faults import Faults
from pipeline.datasets.records import (
    CENTRE,
    RawData,
    RawRecord,
    below_root,
    check_root,
    no_flags,
    one_line,
    read_text,
    to_floats,
)
from pipeline.errors import InputError

_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_MOST_NAMES = 1 << 20  # bytes of the file of names


def read_yolo(root: Path, splits: Mapping[Split, Sequence[str]], names: str, faults: Faults | None = None) -> RawData:
    """Read label files of the images of each split.

    Args:
        root: the data root.
        splits: folders of images below the root, searched with their sub-folders, or .txt lists of image paths.
        names: file below the root with the names of the classes: one a line, or a .yaml with `names`, a list or a
            mapping from 0, 1, ... to names.
        faults: whether to go on after lists, names and lines at fault.

    An image's id is its path below the root without suffix, "_" for "/".

    Raises:
        InputError: a folder, list or file of names is missing or malformed, or a line has no 5 fields.
    """
    root = check_root(root, "images, labels and a file of class names")
    faults = faults or Faults()
    classes: list[str] = []
    with faults.going_on():
        classes = _read_names(root / below_root(names, "dataset.yolo.names"))
    listed: dict[tuple[str, Split], str] = {}
    for split, places in splits.items():
        for place in places:
            with faults.going_on():
                listed.update(((file, split), place) for file in _list_images(root, place, split, faults))
    entries = sorted((_image_id(file), file, split, place) for (file, split), place in listed.items())
    return RawData(root, "dataset.yolo", CENTRE, classes, _records(root, entries, classes, faults))


def _image_id(file: str) -> str:
    return file.rpartition(".")[0].replace("/", "_")


def _list_images(root: Path, place: str, split: Split, faults: Faults) -> list[str]:
    place = below_root(place, f"dataset.yolo.{split}")
    path = root / place
    if path.is_dir():
        found = [
            (Path(folder) / name).relative_to(root).as_posix()
            for folder, _, names in os.walk(path)
            for name in names
            if name.lower().endswith(_SUFFIXES)
        ]
    else:
        lines = read_text(path, f"set dataset.yolo.{split} to folders or lists that are there").split("\n")
        found, before = [], len(faults.lines)
        for index, line in enumerate(lines, 1):
            if line.strip():
                with faults.going_on():
                    found.append(_listed_image(line.strip(), path, index))
        if not found and len(faults.lines) > before:
            return []
    if not found:
        raise InputError(f"{path}: has no images ({', '.join(_SUFFIXES)}); correct dataset.yolo.{split}")
    return found


def _listed_image(text: str, path: Path, index: int) -> str:
    file = below_root(text, f"{path}: line {index}")
    if not file.lower().endswith(_SUFFIXES):
        raise InputError(f"{path}: {file[:60]!r} is no image file; write paths of images with their suffix")
    return file


def _read_names(path: Path) -> list[str]:
    what = "set dataset.yolo.names to the file that names the classes"
    if path.is_file() and path.stat().st_size > _MOST_NAMES:
        raise InputError(f"{path}: is larger than a file of class names can be; {what}")
    text = read_text(path, what)
    if path.suffix not in (".yaml", ".yml"):
        return [line.strip() for line in text.split("\n") if line.strip()]
    try:
        content: Any = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML ({one_line(error)}); {what}") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        if list(names) != list(range(len(names))):
            raise InputError(f"{path}: the keys of names are not 0, 1, 2, ...; number the classes so")
        names = list(names.values())
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"{path}: has no names, a list of texts; name each class")
    return names


def _records(
    root: Path, entries: Sequence[tuple[str, str, Split, str]], classes: Sequence[str], faults: Faults
) -> Iterator[RawRecord]:
    for image_id, file, split, place in entries:
        annotation = _label_file(file)
        path = root / annotation
        text = ""
        with faults.going_on():
            text = read_text(path, "replace it") if path.is_file() else ""
        names, numbers, at = [], [], []
        for index, line in enumerate(text.split("\n")):
            fields = line.split()
            if not fields:
                continue
            if len(fields) != 5:
                with faults.going_on():
                    raise InputError(
                        f"{path}: line {index + 1} has {len(fields)} fields, a box has 5 "
                        "(class x y width height); correct it"
                    )
                continue
            number = int(fields[0]) if fields[0].isdecimal() and len(fields[0]) < 9 else len(classes)
            names.append(classes[number] if number < len(classes) else f"index {fields[0]}")
            numbers += fields[1:]
            at.append(index)
        written, wrong = to_floats(numbers)
        yield RawRecord(
            image_id=image_id,
            split=split,
            file=file,
            annotation=annotation,
            names=names,
            written=written.reshape(-1, 4),
            difficult=no_flags(len(names)),
            iscrowd=no_flags(len(names)),
            ignore=no_flags(len(names)),
            objects=np.array(at, np.int64),
            non_numeric={
                i // 4: f"{CENTRE.names[i % 4]} of line {at[i // 4] + 1} is {numbers[i][:40]!r}, not a number"
                for i in reversed(wrong)
            },
            annotated=path.is_file(),
            listed_in=place,
        )


def _label_file(file: str) -> str:
    parts = file.rpartition(".")[0].split("/")
    folders = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return "/".join(parts) + ".txt"

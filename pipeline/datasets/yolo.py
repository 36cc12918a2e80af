"""YOLO: a txt beside each image, one object a line: class index, x and y of the centre, width and height, all as shares
of the image's sides. Labels of a/images/b.jpg stand in a/labels/b.txt; without a folder "images", beside the image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.datasets.base import Split
from pipeline.datasets.class_names import check_classes
from pipeline.datasets.faults import Faults
from pipeline.datasets.file_names import is_junk, is_plain, junk_remark, printable
from pipeline.datasets.folders import look_below
from pipeline.datasets.image_suffixes import READ, is_image_name, without_twins
from pipeline.datasets.records import (
    CENTRE,
    RawData,
    RawRecord,
    below_root,
    check_root,
    is_file,
    no_flags,
    read_text,
    to_floats,
)
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import YamlError, parse_yaml

_IMAGES, _LABELS = "images", "labels"  # folders side by side
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
    classes: Sequence[str] = []
    names_file = root / below_root(names, "dataset.yolo.names")
    with faults.going_on():
        classes = check_classes(_read_names(names_file), str(names_file))
    listed: dict[tuple[str, Split], str] = {}
    junk: list[str] = []
    for split, places in splits.items():
        for place in places:
            with faults.going_on():
                listed.update(((file, split), place) for file in _list_images(root, place, split, junk, faults))
    entries = sorted((_image_id(file), file, split, place) for (file, split), place in listed.items())
    records = _records(root, entries, classes, faults)
    images = ((file, split) for _, file, split, _ in entries)
    return RawData(root, "dataset.yolo", CENTRE, classes, records, str(names_file), junk_remark(junk), images)


def _image_id(file: str) -> str:
    return file.rpartition(".")[0].replace("/", "_")


def _list_images(root: Path, place: str, split: Split, junk: list[str], faults: Faults) -> list[str]:
    place = below_root(place, f"dataset.yolo.{split}")
    path = root / place
    if os.path.isdir(path):
        found = without_twins(filter(is_image_name, _files_below(root, place, junk, faults)))
    else:
        lines = read_text(path, f"set dataset.yolo.{split} to folders or lists that are there").split("\n")
        found, before = [], len(faults.lines)
        for index, line in enumerate(lines, 1):
            if is_junk(line.strip().rpartition("/")[2]):
                junk.append(line.strip())
            elif line.strip():
                with faults.going_on():
                    found.append(_listed_image(line.strip(), path, index))
        if not found and len(faults.lines) > before:
            return []
    if not found:
        raise InputError(f"{path}: has no images ({', '.join(READ)}); correct dataset.yolo.{split}")
    return [*found, *_missing_images(root, place, found)] if os.path.isdir(path) else found


def _files_below(root: Path, place: str, junk: list[str], faults: Faults) -> list[str]:
    """Paths below the root of a folder's files, those of linked folders included."""
    path = root / place
    below, start = look_below(path), len(os.fspath(path))
    junk += (place + name[start:] for name in below.junk)
    files = []
    for folder, reason in below.unreadable:
        with faults.going_on():
            raise InputError(f"{folder}: cannot be read ({reason}); make it readable")
    for name in below.files:
        with faults.going_on():
            file = place + name[start:]
            if not all(map(is_plain, file.split("/"))):
                what = "a control character, a line break or a backslash in its name"
                raise InputError(f"{root}: {printable(file)!r} has {what}; rename it")
            files.append(file)
    return files


def _missing_images(root: Path, place: str, found: Sequence[str]) -> list[str]:
    """What the labels of a folder's images call images that are not there, such as "images/train/a.*"."""
    labels = _in_labels(place.split("/"))
    label_files = {_label_file(file) for file in found}
    missing = []
    folder = os.fspath(root / labels)
    for path in look_below(folder).files if os.path.isdir(folder) else ():
        label = labels + path[len(folder) :]
        if (
            label not in label_files
            and label.endswith(".txt")
            and "/." not in label
            and _is_label_file(Path(path), label)
        ):
            missing.append(f"{_in_images(label.removesuffix('.txt').split('/'))}.*")
    return missing


def _is_label_file(path: Path, label: str) -> bool:
    """Whether a text that belongs to no image is one of boxes; notes and lists of classes lie about too."""
    if not os.path.isfile(path):  # a pipe would be waited for
        return False
    try:
        with path.open(encoding="utf-8-sig") as file:
            line = next((line for line in file if line.strip()), "")
    except (OSError, UnicodeDecodeError):
        return False
    fields = line.split()
    return (len(fields) >= 5 and not to_floats(fields)[1]) or (not fields and _LABELS in label.split("/"))


def _listed_image(text: str, path: Path, index: int) -> str:
    file = below_root(text, f"{path}: line {index}")
    if not is_image_name(file):
        raise InputError(f"{path}: {file[:60]!r} is no image file; write paths of images with their suffix")
    return file


def _read_names(path: Path) -> list[str]:
    what = "set dataset.yolo.names to the file that names the classes"
    if is_file(path) and path.stat().st_size > _MOST_NAMES:
        raise InputError(f"{path}: is larger than a file of class names can be; {what}")
    text = read_text(path, what)
    if path.suffix not in (".yaml", ".yml"):
        return text.rstrip().split("\n") if text.strip() else []  # a line is an index, so none is passed over
    try:
        content = parse_yaml(text, path, texts=True)  # every name as it is written: 1, yes and null are names too
    except YamlError as error:
        raise InputError(f"{error}; {what}") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        if set(names) != set(map(str, range(len(names)))):
            raise InputError(f"{path}: the keys of names are not 0, 1, 2, ...; number the classes so")
        names = [names[str(index)] for index in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: has no names, a list of texts; name each class")
    return names


def _records(
    root: Path, entries: Sequence[tuple[str, str, Split, str]], classes: Sequence[str], faults: Faults
) -> Iterator[RawRecord]:
    name_of = _Indices(classes)
    for image_id, file, split, place in entries:
        annotation = _label_file(file)
        path = root / annotation
        text, annotated = "", True
        with faults.going_on():
            annotated = is_file(path)
            text = read_text(path, "replace it") if annotated else ""
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
            names.append(name_of[fields[0]])
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
            annotated=annotated,
            listed_in=place,
        )


class _Indices(dict[str, str]):
    """Index as a label file writes it, 1 or 1.0 -> the name of its class, or what to call it where it has none."""

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__((str(index), name) for index, name in enumerate(classes))
        self._classes = classes

    def __missing__(self, written: str) -> str:
        number = to_floats([written])[0][0]
        known = 0 <= number < len(self._classes) and number.is_integer()
        self[written] = self._classes[int(number)] if known else f"index {written}"
        return self[written]


def _label_file(file: str) -> str:
    *folders, name = file.rpartition(".")[0].split("/")
    return f"{_in_labels([*folders, ''])}{name}.txt"


def _in_labels(parts: Sequence[str]) -> str:
    """A path with the last folder "images" called "labels"."""
    return _renamed(parts, _IMAGES, _LABELS)


def _in_images(parts: Sequence[str]) -> str:
    return _renamed(parts, _LABELS, _IMAGES)


def _renamed(parts: Sequence[str], old: str, new: str) -> str:
    parts = list(parts)
    if old in parts:
        parts[len(parts) - 1 - parts[::-1].index(old)] = new
    return "/".join(parts)

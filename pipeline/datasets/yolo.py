"""YOLO: a txt an image, one object a line: class index, x and y of the centre, width and height, all as shares of the
image's sides. Labels of a/images/b.jpg stand in a/labels/b.txt, or beside the image. An image without labels has no
objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.datasets.base import Split
from pipeline.datasets.class_names import check_classes
from pipeline.datasets.faults import Faults
from pipeline.datasets.file_names import junk_remark
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
from pipeline.datasets.yolo_lists import Entry, YoloLists, label_files_of
from pipeline.datasets.yolo_names import read_names
from pipeline.runtime.errors import InputError


def read_yolo(root: Path, splits: Mapping[Split, Sequence[str]], names: str, faults: Faults | None = None) -> RawData:
    """Read label files of the images of each split.

    Args:
        root: the data root.
        splits: folders of images below the root, "." for the root, searched with their sub-folders, or .txt lists of
            image paths. Paths of another machine or tool are those of the files that their ends name.
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
        classes = check_classes(read_names(names_file), str(names_file))
    lists = YoloLists(root, faults)
    entries = lists.entries(splits)
    records = _records(root, entries, classes, faults)
    images = ((entry.file, entry.split) for entry in entries)
    return RawData(root, "dataset.yolo", CENTRE, classes, records, str(names_file), junk_remark(lists.junk), images)


def _records(root: Path, entries: Sequence[Entry], classes: Sequence[str], faults: Faults) -> Iterator[RawRecord]:
    name_of = _Indices(classes)
    for image_id, file, split, place, _ in entries:
        places = label_files_of(file)
        annotation, text, annotated = places[0], "", True
        with faults.going_on():
            annotation = next((place for place in places if is_file(root / place)), "")
            annotated, annotation = annotation != "", annotation or places[0]
            text = read_text(root / annotation, "replace it") if annotated else ""
        path = root / annotation
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
            absent="no_label_file",
            listed_in=place or "the data root",
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

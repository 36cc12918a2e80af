"""YOLO: a txt an image, one object a line: class index, then a box or the corners of a polygon, as shares of the sides.

Labels of a/images/b.jpg stand in a/labels/b.txt, or beside the image. An image without labels has no objects.
"""

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
from pipeline.datasets.yolo_labels import parse_labels
from pipeline.datasets.yolo_lists import Entry, YoloLists, label_files_of
from pipeline.datasets.yolo_names import read_names


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
        InputError: a folder, list or file of names is missing or malformed, or a line is neither box nor polygon.
    """
    root = check_root(root, "images, labels and a file of class names")
    faults = faults or Faults()
    classes: Sequence[str] = []
    keypoints = 0
    names_file = root / below_root(names, "dataset.yolo.names")
    with faults.going_on():
        written, keypoints = read_names(names_file)
        classes = check_classes(written, str(names_file))
    lists = YoloLists(root, faults)
    entries = lists.entries(splits)
    records = _records(root, entries, classes, keypoints, faults)
    images = ((entry.file, entry.split) for entry in entries)
    return RawData(root, "dataset.yolo", CENTRE, classes, records, str(names_file), junk_remark(lists.junk), images)


def _records(
    root: Path, entries: Sequence[Entry], classes: Sequence[str], keypoints: int, faults: Faults
) -> Iterator[RawRecord]:
    name_of = _Indices(classes)
    for image_id, file, split, place, changes in entries:
        places = label_files_of(file)
        annotation, path, text, annotated = places[0], root / places[0], "", True
        with faults.going_on():
            annotated = is_file(path)
            other = None if annotated else next((label for label in places[1:] if is_file(root / label)), None)
            if other is not None:
                annotated, annotation, path = True, other, root / other
            text = read_text(path, "replace it") if annotated else ""
        labels = parse_labels(text, path, keypoints, faults)
        count = len(labels.indices)
        yield RawRecord(
            image_id=image_id,
            split=split,
            file=file,
            annotation=annotation,
            names=[name_of[index] for index in labels.indices],
            written=labels.written,
            difficult=no_flags(count),
            iscrowd=no_flags(count),
            ignore=no_flags(count),
            objects=np.array(labels.lines, np.int64),
            non_numeric=labels.non_numeric,
            annotated=annotated,
            absent="no_label_file",
            listed_in=place or "the data root",
            changes=(*changes, *labels.changes),
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

"""KITTI: FOLDER/label_2/*.txt, FOLDER/image_2/* and one list of image names a split.

A line of a label file holds 15 numbers and words: type, truncated, occluded, alpha, then left, top, right, bottom in px
from 0, then seven of the 3-d box; detections have a score as the 16th. DontCare lines become ignore regions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.datasets.base import Split
from pipeline.datasets.class_names import clean_name, distinct_names
from pipeline.datasets.faults import Faults
from pipeline.datasets.file_names import is_junk, junk_remark
from pipeline.datasets.image_lists import read_image_list
from pipeline.datasets.image_suffixes import is_image_name, without_twins
from pipeline.datasets.records import (
    XYXY,
    RawData,
    RawRecord,
    below_root,
    check_root,
    detections,
    is_file,
    names_in,
    no_flags,
    read_text,
    to_float,
    to_floats,
)
from pipeline.datasets.splitting.pool import REMEDY, WHOLE
from pipeline.runtime.errors import InputError

_DONT_CARE = "DontCare"
_BOX = ("left", "top", "right", "bottom")
_WITH_SCORE = 16  # fields of a detection; an object has one less


@dataclass(frozen=True)
class _Entry:
    name: str
    split: Split
    listed_in: str


def read_kitti(
    root: Path,
    splits: Mapping[Split, Sequence[str]],
    folder: str,
    classes: Sequence[str] | None,
    merge: Mapping[str, str],
    faults: Faults | None = None,
) -> RawData:
    """Read the label files of the listed images.

    Args:
        root: the data root.
        splits: names of lists, without .txt, in the root or in ImageSets below it; each line names an image. "./" is
            all images and label files of the folder.
        folder: below the root; label_2 and image_2 stand in it.
        classes: names of the classes; None takes all that the label files name, after merging, sorted.
        merge: name in the label files -> name to take it for. What is merged into DontCare becomes an ignore region.
        faults: whether to continue after faulty lists and lines.

    Raises:
        InputError: a list or folder is missing, or a line has another number of fields.
    """
    root = check_root(root, "image_2, label_2 and lists of images")
    folder = below_root(folder, "dataset.kitti.folder")
    images, labels = f"{folder}/image_2", f"{folder}/label_2"
    if not os.path.isdir(root / images):
        raise InputError(f"{root / images}: no such folder; set dataset.kitti.folder to the one that holds image_2")
    faults = faults or Faults()
    files = _images_by_name(root, images)

    def is_there(image: str) -> bool:
        return image in files or os.path.isfile(root / labels / f"{image}.txt")

    listed: dict[_Entry, None] = {}
    junk: list[str] = []
    for split, names in splits.items():
        for name in names:
            with faults.going_on():
                if name == WHOLE:
                    own = [_Entry(image, split, folder) for image in _all_images(root, files, labels)]
                else:
                    own = _read_list(root, name, split, is_there, junk, faults)
                listed.update(dict.fromkeys(own))
    entries = sorted(listed, key=lambda entry: entry.name)
    named_in = None if classes is None else "dataset.kitti.classes"
    merge = {clean_name(name): clean_name(into) for name, into in merge.items()}
    if classes is None:
        found = {name for entry in entries for name in _parse(root, f"{labels}/{entry.name}.txt", merge, faults).names}
        classes = sorted({*distinct_names(found)} - {_DONT_CARE})
    records = _records(root, entries, files, images, labels, merge, faults)
    images_there = ((files[entry.name], entry.split) for entry in entries if entry.name in files)
    return RawData(root, "dataset.kitti", XYXY, classes, records, named_in, junk_remark(junk), images_there)


def _all_images(root: Path, files: Mapping[str, str], labels: str) -> list[str]:
    named = names_in(root / labels) if os.path.isdir(root / labels) else []
    return sorted(
        {*files, *(name.removesuffix(".txt") for name in named if name.endswith(".txt") and not is_junk(name))}
    )


def _read_list(
    root: Path, name: str, split: Split, is_there: Callable[[str], bool], junk: list[str], faults: Faults
) -> list[_Entry]:
    name = below_root(f"{name}.txt", f"dataset.kitti.{split}")
    path = next((path for path in (root / name, root / "ImageSets" / name) if is_file(path)), root / name)
    remedy = f"set dataset.kitti.{split} to lists that are there, one image name per line, {REMEDY}"
    listed = read_image_list(path, is_there, faults, remedy)
    junk += listed.junk
    return [_Entry(image, split, path.relative_to(root).as_posix()) for image in listed.names]


def _images_by_name(root: Path, images: str) -> dict[str, str]:
    found = sorted(without_twins(filter(is_image_name, names_in(root / images))))
    return {Path(name).stem: f"{images}/{name}" for name in reversed(found)}


def _records(
    root: Path,
    entries: Sequence[_Entry],
    files: Mapping[str, str],
    images: str,
    labels: str,
    merge: Mapping[str, str],
    faults: Faults,
) -> Iterator[RawRecord]:
    for entry in entries:
        annotation = f"{labels}/{entry.name}.txt"
        parsed = _parse(root, annotation, merge, faults)
        count = len(parsed.names)
        yield RawRecord(
            image_id=entry.name,
            split=entry.split,
            file=files.get(entry.name, f"{images}/{entry.name}.png"),
            annotation=annotation,
            names=parsed.names,
            written=parsed.written,
            difficult=no_flags(count),
            iscrowd=no_flags(count),
            ignore=np.array([name == _DONT_CARE for name in parsed.names], np.bool_),
            objects=np.array(parsed.lines, np.int64),
            non_numeric=parsed.non_numeric,
            annotated=parsed.annotated,
            listed_in=entry.listed_in,
            changes=[detections(parsed.scored, count, "object")] if parsed.scored else [],
        )


@dataclass(frozen=True)
class _Labels:
    names: list[str]
    written: np.ndarray
    lines: list[int]
    non_numeric: dict[int, str]
    annotated: bool
    scored: int  # objects that have a score


def _parse(root: Path, annotation: str, merge: Mapping[str, str], faults: Faults) -> _Labels:
    path = root / annotation
    text, annotated = "", True
    with faults.going_on():
        annotated = is_file(path)
        text = read_text(path, "replace it by a label file of KITTI's layout") if annotated else ""
    names, numbers, at, scored = [], [], [], 0
    for index, line in enumerate(text.split("\n")):
        fields = line.split()
        if not fields:
            continue
        if len(fields) not in (_WITH_SCORE - 1, _WITH_SCORE):
            with faults.going_on():
                raise InputError(f"{path}: line {index + 1} has {len(fields)} fields, KITTI's have 15; correct it")
            continue
        name = clean_name(fields[0])
        names.append(merge.get(name, name))
        numbers += fields[4:8]
        at.append(index)
        scored += len(fields) == _WITH_SCORE and to_float(fields[-1]) not in (1, None)
    written, wrong = to_floats(numbers)
    non_numeric = {
        place // 4: f"{_BOX[place % 4]} of line {at[place // 4] + 1} is {numbers[place][:40]!r}, not a number"
        for place in reversed(wrong)
    }
    return _Labels(names, written.reshape(-1, 4), at, non_numeric, annotated, scored)

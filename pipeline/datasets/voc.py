"""Pascal VOC: Annotations/*.xml, JPEGImages/*.jpg and ImageSets/Main/<split>.txt under a root or its sub-trees.

VOC writes boxes as 1-based inclusive pixels; (xmin - 1, ymin - 1, xmax, ymax) are the same box's continuous corners,
and their IoU equals that of the devkit. A box whose written corners coincide in x or y counts as zero area: nobody
labels a line of one pixel on purpose.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml
import defusedxml.ElementTree
import numpy as np

from pipeline.datasets.base import Split
from pipeline.datasets.class_names import distinct_names
from pipeline.datasets.faults import Faults
from pipeline.datasets.file_names import is_plain, junk_remark
from pipeline.datasets.image_lists import read_image_list
from pipeline.datasets.records import INCLUSIVE, RawData, RawRecord, check_root, is_file, no_flags, one_line, to_float
from pipeline.runtime.errors import InputError

_LAYOUT = "Annotations, JPEGImages and ImageSets/Main"
_LISTED_IN = "ImageSets/Main"


@dataclass(frozen=True)
class _Entry:
    """An image that a split lists: `name` in the sub-tree `tree` of the root, "" where the root itself is the tree."""

    tree: str
    name: str
    split: Split

    @property
    def image_id(self) -> str:
        return f"{self.tree.replace('/', '_')}_{self.name}" if self.tree else self.name

    def path(self, folder: str, suffix: str) -> str:
        """The path below the root of this image's file in `folder`."""
        return "/".join(part for part in (self.tree, folder, self.name + suffix) if part)


def read_voc(
    root: Path, splits: Mapping[Split, Sequence[str]], classes: Sequence[str] | None, faults: Faults | None = None
) -> RawData:
    """Read the splits of the VOC tree at `root`.

    A split is the name of a file in ImageSets/Main, such as "trainval", or "VOC2007/trainval" for that of the sub-tree
    VOC2007, whose image ids then begin with "VOC2007_". Where `classes` is None, all names in the listed annotations
    are taken, sorted. `faults`: whether to continue after faulty lists and annotations.

    Raises:
        InputError: a list or an annotation is missing, malformed or incomplete.
    """
    root = check_root(root, _LAYOUT)
    faults = faults or Faults()
    junk: list[str] = []
    entries = _list_images(root, splits, junk, faults)
    named_in = None if classes is None else "dataset.voc.classes"
    if classes is None:
        classes = _collect_classes(root, entries, faults)
    records = _read_all(root, entries, faults)
    images = ((entry.path("JPEGImages", ".jpg"), entry.split) for entry in entries)
    return RawData(root, "dataset.voc", INCLUSIVE, classes, records, named_in, junk_remark(junk), images)


def _list_images(root: Path, splits: Mapping[Split, Sequence[str]], junk: list[str], faults: Faults) -> list[_Entry]:
    """All images of all splits in ascending image_id, each once a split; adds to `junk` what is passed over."""
    listed: dict[_Entry, None] = {}
    for split, names in splits.items():
        with faults.going_on():
            if not names and split != "val":
                raise InputError(
                    f"dataset.voc.{split} is empty; name files of ImageSets/Main without .txt, e.g. {split}"
                )
        for name in names:
            with faults.going_on():
                listed.update((entry, None) for entry in _read_split(root, name, split, junk, faults))
    return sorted(listed, key=lambda entry: entry.image_id)


def _read_split(root: Path, split_name: str, split: Split, junk: list[str], faults: Faults) -> list[_Entry]:
    *parts, name = split_name.split("/")
    if not all(map(is_plain, [*parts, name])):
        raise InputError(f"dataset.voc.{split}: {split_name!r} names no split in {root}; write e.g. VOC2007/trainval")
    folder = root.joinpath(*parts, "ImageSets", "Main")
    path = folder / f"{name}.txt"
    if not os.path.isdir(folder):
        raise InputError(
            f"{folder}: no such folder, so this is no VOC tree; give dataset.root=PATH to frcnn preset, "
            f"a folder with {_LAYOUT}"
        )
    if not is_file(path):
        there = ", ".join(sorted(file.stem for file in folder.glob("*.txt"))[:8]) or "none"
        raise InputError(f"{path}: no such split file; set dataset.voc.{split} to splits that are there ({there})")
    tree = root.joinpath(*parts)

    def is_there(image: str) -> bool:
        return os.path.isfile(tree / f"Annotations/{image}.xml") or os.path.isfile(tree / f"JPEGImages/{image}.jpg")

    listed = read_image_list(path, is_there, faults, with_flags=True)
    junk += (_Entry("/".join(parts), image, split).path("JPEGImages", ".jpg") for image in listed.junk)
    return [_Entry("/".join(parts), image, split) for image in listed.names]


def _collect_classes(root: Path, entries: Sequence[_Entry], faults: Faults) -> list[str]:
    names: set[str] = set()
    for entry in entries:
        where = root / entry.path("Annotations", ".xml")
        with faults.going_on():
            for item in _parse(where).findall("object") if is_file(where) else ():
                with faults.going_on():
                    names.add(_text(item, "name", where))
    return sorted(distinct_names(names))


def _parse(path: Path) -> Element:
    try:
        root = defusedxml.ElementTree.parse(path).getroot()
    except defusedxml.DefusedXmlException as error:
        raise InputError(
            f"{path}: refused, it declares XML entities ({one_line(error)}); remove its DOCTYPE"
        ) from error
    except (ParseError, ValueError, LookupError, OSError) as error:
        raise InputError(f"{path}: malformed XML ({one_line(error)}); mend or replace the file") from error
    if root is None:
        raise InputError(f"{path}: holds no element; mend or replace the file")
    return root


def _read_all(root: Path, entries: Sequence[_Entry], faults: Faults) -> Iterator[RawRecord]:
    for entry in entries:
        with faults.going_on():
            yield _read_image(root, entry)


def _read_image(root: Path, entry: _Entry) -> RawRecord:
    annotation = entry.path("Annotations", ".xml")
    where = root / annotation
    annotated = is_file(where)
    tree = _parse(where) if annotated else Element("annotation")
    items = tree.findall("object")
    written = np.full((len(items), 4), np.nan)
    difficult, non_numeric, untagged = no_flags(len(items)), {}, 0
    for index, item in enumerate(items):
        tags = [f"bndbox/{side}" for side in INCLUSIVE.names]
        tags += ["difficult"] if item.find("difficult") is not None else []
        untagged += len(tags) == 4
        for column, tag in enumerate(tags):
            text = _text(item, tag, where)
            number = to_float(text)
            if number is None:
                non_numeric[index] = f"{tag} of object {index} is {text[:40]!r}, not a number"
                break
            if column < 4:
                written[index, column] = number
            else:
                difficult[index] = number != 0
    return RawRecord(
        image_id=entry.image_id,
        split=entry.split,
        file=entry.path("JPEGImages", ".jpg"),
        annotation=annotation,
        names=[_text(item, "name", where) for item in items],
        written=written,
        difficult=difficult,
        iscrowd=no_flags(len(items)),
        ignore=no_flags(len(items)),
        objects=np.arange(len(items)),
        size=(_number(tree, "size/width", where), _number(tree, "size/height", where)) if annotated else None,
        non_numeric=non_numeric,
        untagged=untagged,
        annotated=annotated,
        listed_in=_LISTED_IN,
    )


def _text(parent: Element, tag: str, where: Path) -> str:
    text = (parent.findtext(tag) or "").strip()
    if not text:
        raise InputError(f"{where}: no <{'><'.join(tag.split('/'))}> in <{parent.tag}>; add the tag")
    return text


def _number(parent: Element, tag: str, where: Path) -> float:
    text = _text(parent, tag, where)
    number = to_float(text)
    if number is None:
        raise InputError(f"{where}: {tag} is {text[:40]!r}, not a number; correct it")
    return number

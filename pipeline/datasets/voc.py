"""Pascal VOC: Annotations/*.xml, JPEGImages/*.jpg and ImageSets/Main/<split>.txt under a root or its sub-trees.

VOC writes boxes as 1-based inclusive pixels; (xmin - 1, ymin - 1, xmax, ymax) are the same box's continuous corners,
and their IoU equals that of the devkit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import defusedxml
import defusedxml.ElementTree
import numpy as np

from pipeline.datasets.base import AnnotatedImage, Dataset, Finding, Split
from pipeline.errors import InputError

_LAYOUT = "Annotations, JPEGImages and ImageSets/Main"
_GIVE_ROOT = "give dataset.root=PATH to frcnn preset"


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


def read_voc(root: Path, train: Sequence[str], test: Sequence[str], classes: Sequence[str] | None) -> Dataset:
    """Read the splits `train` and `test` of the VOC tree at `root`.

    A split is the name of a file in ImageSets/Main, such as "trainval", or "VOC2007/trainval" for that of the sub-tree
    VOC2007, whose image ids then begin with "VOC2007_". Where `classes` is None, all names in the listed annotations
    are taken, sorted; else objects of other classes are dropped with a finding.
    """
    root = Path(root)
    _check_root(root)
    entries = _list_images(root, {"train": train, "test": test})
    if classes is None:
        classes = _collect_classes(root, entries)
        if not classes:
            raise InputError(f"{root}: no listed annotation has an object, so there is nothing to learn; label some")
    if len(set(classes)) < len(classes):
        raise InputError(f"a class is named twice in {list(classes)}: name each class once in dataset.voc.classes")
    findings: list[Finding] = []
    labels = {name: index for index, name in enumerate(classes, start=1)}
    images = (_read_image(root, entry, labels, findings) for entry in entries)
    return Dataset(tuple(classes), images, findings)


def _check_root(root: Path) -> None:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; {_GIVE_ROOT}, a folder with {_LAYOUT}")
    if not any(entry for entry in root.iterdir() if not entry.name.startswith(".")):
        raise InputError(f"{root}: no data set is linked (the folder is empty); {_GIVE_ROOT}, a folder with {_LAYOUT}")


def _list_images(root: Path, splits: dict[Split, Sequence[str]]) -> list[_Entry]:
    """All images of all splits in ascending image_id, each once."""
    listed: dict[str, _Entry] = {}
    for split, names in splits.items():
        if not names:
            raise InputError(f"dataset.voc.{split} is empty; name files of ImageSets/Main without .txt, e.g. {split}")
        for entry in (entry for name in names for entry in _read_split(root, name, split)):
            known = listed.setdefault(entry.image_id, entry)
            if known.split != split:
                raise InputError(
                    f"{root}: image {entry.image_id!r} is both in train {list(splits['train'])} and in test "
                    f"{list(names)}; remove it from one of these files in ImageSets/Main"
                )
            if known != entry:
                raise InputError(
                    f"{root}: {known.path('JPEGImages', '.jpg')} and {entry.path('JPEGImages', '.jpg')} "
                    f"would both be image {entry.image_id!r}; rename one"
                )
    return [listed[image_id] for image_id in sorted(listed)]


def _read_split(root: Path, split_name: str, split: Split) -> list[_Entry]:
    *parts, name = split_name.split("/")
    if not all(map(_is_plain, [*parts, name])):
        raise InputError(f"dataset.voc.{split}: {split_name!r} names no split in {root}; write e.g. VOC2007/trainval")
    folder = root.joinpath(*parts, "ImageSets", "Main")
    path = folder / f"{name}.txt"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, so this is no VOC tree; {_GIVE_ROOT}, a folder with {_LAYOUT}")
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.txt"))[:8]) or "none"
        raise InputError(f"{path}: no such split file; set dataset.voc.{split} to splits that are there ({there})")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error}); write one image name a line") from error
    names = [line.split()[0] for line in lines if line.strip()]  # VOC's class files have a second column
    if not names:
        raise InputError(f"{path}: lists no image; write one image name a line")
    for image in names:
        if not _is_plain(image):
            raise InputError(f"{path}: {image!r} is no image name; write it without folders and without .jpg")
    return [_Entry("/".join(parts), image, split) for image in names]


def _is_plain(part: str) -> bool:
    """Whether a path part names something in its own folder."""
    return part not in ("", ".", "..") and not set(part) & set("/\\\0") and part.isprintable()


def _collect_classes(root: Path, entries: Sequence[_Entry]) -> list[str]:
    names: set[str] = set()
    for entry in entries:
        where = root / entry.path("Annotations", ".xml")
        names.update(_text(item, "name", where) for item in _parse(where).findall("object"))
    return sorted(names)


def _parse(path: Path) -> Element:
    if not path.is_file():
        raise InputError(f"{path}: no such annotation; add it or remove {path.stem} from ImageSets/Main")
    try:
        root = defusedxml.ElementTree.parse(path).getroot()
    except defusedxml.DefusedXmlException as error:
        raise InputError(f"{path}: refused, it declares XML entities ({error}); remove its DOCTYPE") from error
    except (ParseError, ValueError, LookupError, OSError) as error:
        raise InputError(f"{path}: malformed XML ({error}); mend or replace the file") from error
    if root is None:
        raise InputError(f"{path}: holds no element; mend or replace the file")
    return root


def _read_image(root: Path, entry: _Entry, labels: dict[str, int], findings: list[Finding]) -> AnnotatedImage:
    annotation, file = entry.path("Annotations", ".xml"), entry.path("JPEGImages", ".jpg")
    where = root / annotation
    tree = _parse(where)
    if not (root / file).is_file():
        raise InputError(f"{root / file}: no such image; add it or remove {entry.name} from ImageSets/Main")
    width, height = (_number(tree, f"size/{side}", where) for side in ("width", "height"))
    if not all(side >= 1 and side.is_integer() for side in (width, height)):
        raise InputError(f"{where}: the size {width:g} x {height:g} is no image size; write that of {file} in pixels")

    boxes, kept, difficult = [], [], []
    for index, item in enumerate(tree.findall("object")):
        name = _text(item, "name", where)
        written = [_number(item, f"bndbox/{side}", where, index) for side in ("xmin", "ymin", "xmax", "ymax")]
        box, kind, detail = _fit_box(written, width, height)
        if name not in labels:
            box, kind, detail = None, "unknown_class", f"class {name!r} is not among the classes"
        if kind:
            findings.append(Finding(f"raw/{annotation}", index, kind, detail, "dropped" if box is None else "clipped"))
        if box is not None:
            boxes.append(box)
            kept.append(labels[name])
            difficult.append(item.find("difficult") is not None and _number(item, "difficult", where, index) != 0)
    return AnnotatedImage(
        entry.image_id,
        entry.split,
        f"raw/{file}",
        int(width),
        int(height),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(kept, np.int16),
        np.array(difficult, np.bool_),
        np.zeros(len(boxes), np.bool_),
    )


def _fit_box(written: list[float], width: float, height: float) -> tuple[list[float] | None, str, str]:
    """The continuous box inside the image, or None, then the finding's kind and detail, "" where all is well.

    A box whose written corners coincide in x or y counts as zero area: nobody labels a line of one pixel on purpose.
    """
    xmin, ymin, xmax, ymax = written
    detail = f"xmin, ymin, xmax, ymax = {', '.join(f'{value:.9g}' for value in written)}"
    if not all(map(math.isfinite, written)):
        return None, "non_finite", detail
    if xmax < xmin or ymax < ymin:
        return None, "inverted", detail
    if xmax == xmin or ymax == ymin:
        return None, "zero_area", detail
    box = [xmin - 1, ymin - 1, xmax, ymax]
    inside = [max(box[0], 0.0), max(box[1], 0.0), min(box[2], width), min(box[3], height)]
    x1, y1, x2, y2 = np.array(inside, np.float32)
    detail += f" in an image of {width:g} x {height:g}"
    if x2 <= x1 or y2 <= y1:
        return None, "outside_image", detail
    return inside, "" if inside == box else "outside_image", "" if inside == box else detail


def _text(parent: Element, tag: str, where: Path) -> str:
    text = (parent.findtext(tag) or "").strip()
    if not text:
        raise InputError(f"{where}: no <{'><'.join(tag.split('/'))}> in <{parent.tag}>; add the tag")
    return text


def _number(parent: Element, tag: str, where: Path, index: int | None = None) -> float:
    text = _text(parent, tag, where)
    try:
        return float(text)
    except ValueError as error:
        place = "" if index is None else f" of object {index}"
        raise InputError(f"{where}: {tag}{place} is {text[:40]!r}, not a number; correct it") from error

"""OpenImages: a CSV of boxes a split, shares of the image's sides; images are called by their ids.

`*class-descriptions*.csv`, beside the boxes or in the root, gives LabelName, such as /m/01yrx, its name. The CSVs name
millions of images: those that are not there are passed over. IsGroupOf marks a region of many objects.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.datasets.faults import Faults
from pipeline.datasets.image_suffixes import without_twins
from pipeline.datasets.records import Boxes, BoxFormat, one_line
from pipeline.datasets.tools.annotated import Tool, ToolImage, ToolObject
from pipeline.datasets.tools.image_finder import ImageFinder
from pipeline.runtime.errors import InputError

_DESCRIPTIONS = re.compile(r"^[^.].*class-descriptions.*\.csv$|^class-descriptions.*\.csv$", re.IGNORECASE)
_NEEDED = ("ImageID", "LabelName", "XMin", "YMin", "XMax", "YMax")


def _corners(written: Boxes, width: float, height: float) -> Boxes:
    return written * np.array([width, height, width, height])


SHARES = BoxFormat(
    ("XMin", "YMin", "XMax", "YMax"),
    _corners,
    lambda written: written[:, 2:] - written[:, :2],
    lambda written: np.concatenate(
        [np.minimum(written[:, :2], written[:, 2:]), np.maximum(written[:, :2], written[:, 2:])], axis=1
    ),
    rounding=1e-5,
)


def _parse(path: Path, finder: ImageFinder, faults: Faults) -> Iterator[ToolImage] | None:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV table ({one_line(error)}); fix it") from error
    return _images(path, finder, faults) if set(_NEEDED) <= set(header) else None


def _images(path: Path, finder: ImageFinder, faults: Faults) -> Iterator[ToolImage]:
    described, names = _descriptions(path, finder.root)
    stems: dict[str, list[str]] = {}
    for name in dict.fromkeys(file.rpartition("/")[2] for file in without_twins(finder.files())):
        stems.setdefault(name.rpartition(".")[0], []).append(name)
    found: dict[str, list[ToolObject]] = {}
    absent: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for index, row in enumerate(reader):
                with faults.going_on():
                    where = f"{path}: line {reader.line_num}"
                    image, label = (_text(row, key, where) for key in ("ImageID", "LabelName"))
                    if image not in stems:
                        absent.add(image)
                        continue
                    if described is not None and label not in names:
                        raise InputError(
                            f"{described}: has no name of {one_line(label)[:40]}; complete it, or remove it to call "
                            "classes by their labels"
                        )
                    box = (row["XMin"], row["YMin"], row["XMax"], row["YMax"])
                    own = ToolObject(names.get(label, label), box, iscrowd=row.get("IsGroupOf") == "1", index=index)
                    found.setdefault(image, []).append(own)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV table ({one_line(error)}); fix it") from error
    if not found and (absent or not faults.lines):
        raise InputError(
            f"{path}: none of its {len(absent):,} images is there; put images called by their ids into the data root"
        )
    for image, objects in found.items():
        where = f"{path}: image {one_line(image)}"
        name = ""
        with faults.going_on():
            name = _file(stems[image], where)
        if name:
            yield ToolImage(name, where, objects)
    if absent:
        yield ToolImage("", str(path), (), passed_over=[("image", "not there")] * len(absent))


def _descriptions(path: Path, root: Path) -> tuple[Path | None, dict[str, str]]:
    """The file of the labels' names, None where there is none, and what it says."""
    for folder in dict.fromkeys((path.parent, root)):
        for file in sorted(file for file in folder.iterdir() if _DESCRIPTIONS.search(file.name)):
            try:
                with file.open(encoding="utf-8-sig", newline="") as lines:
                    return file, {row[0]: row[1] for row in csv.reader(lines) if len(row) == 2}
            except (OSError, ValueError, csv.Error) as error:
                raise InputError(
                    f"{file}: not a readable CSV table of names ({one_line(error)}); save it as UTF-8"
                ) from error
    return None, {}


def _text(row: Mapping[str, str | None], key: str, where: str) -> str:
    value = row[key]
    if not value:  # None where the row ends early
        raise InputError(f"{where}: has no {key}; complete or remove it")
    return value


def _file(names: Sequence[str], where: str) -> str:
    """The one file of an image's id, a .jpg among several, as OpenImages' own images are."""
    best = [name for name in names if name.lower().endswith(".jpg")] or names
    if len(best) > 1:
        raise InputError(f"{where}: may be {one_line(best[0])} or {one_line(best[1])}; keep one of them")
    return best[0]


OPENIMAGES = Tool("openimages", "OpenImages", ".csv", SHARES, _parse)

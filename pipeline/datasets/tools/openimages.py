"""OpenImages: a CSV of boxes a split, shares of the image's sides; images are called by their ids.

`*class-descriptions*.csv`, beside the boxes or in the root, gives LabelName, such as /m/01yrx, its name. The CSVs name
millions of images: those that are not there are passed over. IsGroupOf marks a region of many objects.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.datasets.faults import Faults
from pipeline.datasets.records import Boxes, BoxFormat, one_line
from pipeline.datasets.tools.annotated import Tool, ToolImage, ToolObject
from pipeline.datasets.tools.image_finder import ImageFinder
from pipeline.runtime.errors import InputError

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
        raise InputError(f"{path}: not a readable CSV table ({one_line(error)}); mend it") from error
    return _images(path, finder) if set(_NEEDED) <= set(header) else None


def _images(path: Path, finder: ImageFinder) -> Iterator[ToolImage]:
    names = _descriptions(path, finder.root)
    stems = {file.rpartition("/")[2].rpartition(".")[0]: file.rpartition("/")[2] for file in finder.files()}
    found: dict[str, list[ToolObject]] = {}
    absent: set[str] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for index, row in enumerate(csv.DictReader(file)):
                image = row["ImageID"]
                if image not in stems:
                    absent.add(image)
                    continue
                box = (row["XMin"], row["YMin"], row["XMax"], row["YMax"])
                name = names.get(row["LabelName"], row["LabelName"])
                own = ToolObject(name, box, iscrowd=row.get("IsGroupOf") == "1", index=index)
                found.setdefault(image, []).append(own)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV table ({one_line(error)}); mend it") from error
    if not found:
        raise InputError(
            f"{path}: none of its {len(absent):,} images is there; put images called by their ids into the data root"
        )
    for image, objects in found.items():
        yield ToolImage(stems[image], f"{path}: image {image}", objects)
    if absent:
        yield ToolImage("", str(path), (), passed_over=[("image", "not there")] * len(absent))


def _descriptions(path: Path, root: Path) -> dict[str, str]:
    for folder in dict.fromkeys((path.parent, root)):
        for file in sorted(folder.glob("*class-descriptions*.csv")):
            with file.open(encoding="utf-8-sig", newline="") as lines:
                return {row[0]: row[1] for row in csv.reader(lines) if len(row) == 2}
    return {}


OPENIMAGES = Tool("openimages", "OpenImages", ".csv", SHARES, _parse)

"""The classes of a data set, and those of a detector that training starts from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.artifacts.atomic import write_text

_OF_DETECTOR = "detector_classes.json"


def read_classes(folder: Path) -> list[str]:
    """The C class names of the dataset or the resize stage, the background first; a label is an index into them."""
    names: list[str] = json.loads((Path(folder) / "classes.json").read_text(encoding="utf-8"))
    return names


def detector_classes_file(folder: Path) -> Path:
    """The file of the classes of the RoI head in data/backbone."""
    return Path(folder) / _OF_DETECTOR


def write_detector_classes(folder: Path, names: Sequence[str]) -> None:
    """Write the names of the classes of the RoI head in data/backbone, the background first."""
    write_text(Path(folder) / _OF_DETECTOR, json.dumps(list(names), indent=1, ensure_ascii=False) + "\n")


def read_detector_classes(folder: Path) -> list[str] | None:
    """The C class names of the RoI head that data/backbone holds, the background first; None where it holds none."""
    path = Path(folder) / _OF_DETECTOR
    if not path.is_file():
        return None
    names: list[str] = json.loads(path.read_text(encoding="utf-8"))
    return names

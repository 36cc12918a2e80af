"""VOC's results: one text per class, `comp4_det_test_CLASS.txt`, with an image, a score and a box per line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.datasets.records import to_float
from pipeline.datasets.same_class import same_class_key
from pipeline.judging.found import Found, sorted_files
from pipeline.runtime.errors import InputError

_FORM = "VOC results"


def read_voc_detections(path: Path, classes: Sequence[str]) -> Found:
    """Read one file, or all texts of a folder. Boxes are inclusive pixels from 1, as VOC writes them.

    Args:
        classes: of the data set; a file's name without `_det_SPLIT_` ends in one of them.

    Raises:
        InputError: there is no file, its name has no class, or a line is faulty.
    """
    files = sorted_files(path, ".txt") if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: has no .txt file; give a folder of comp4_det_test_CLASS.txt, or a JSON file")
    found = Found(_FORM)
    for file in files:
        name = _class_of(file, classes)
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: cannot be read as text; give comp4_det_test_CLASS.txt") from error
        for number, line in enumerate(lines, start=1):
            if line.strip():
                _add(found, f"{file}: line {number}", line.split(), name)
    return found


def _add(found: Found, where: str, parts: list[str], name: str) -> None:
    if len(parts) < 6:
        raise InputError(f"{where}: has {len(parts)} words where image, score and four corners are needed; correct it")
    score, x1, y1, x2, y2 = (to_float(part) for part in parts[-5:])
    low = [None if value is None else value - 1 for value in (x1, y1)]
    found.add(where, " ".join(parts[:-5]), name, score, [*low, x2, y2])


def _class_of(file: Path, classes: Sequence[str]) -> str:
    """What stands after `_det_SPLIT_`, else the longest end of the name that is a class of the data set."""
    parts, keys = file.stem.split("_"), {same_class_key(name): name for name in classes}
    if "det" in parts[:-2]:
        return "_".join(parts[parts.index("det") + 2 :])
    for first in range(len(parts)):
        name = "_".join(parts[first:])
        if same_class_key(name) in keys:
            return keys[same_class_key(name)]
    raise InputError(f"{file}: its name ends in no class of the data set; call it comp4_det_test_CLASS.txt")

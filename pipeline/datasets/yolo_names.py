"""The names of YOLO's classes: a text with one a line, or `names` of a YAML file, which may declare keypoints too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pipeline.datasets.records import is_file, read_text
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import YamlError, parse_yaml

_MOST_NAMES = 1 << 20  # bytes of the file of names
_KEYPOINT_SIDES = 2
_WHAT = "set dataset.yolo.names to the file that names the classes"


class YoloNames(NamedTuple):
    """Names of the classes as they are written, by index, and how many numbers of keypoints follow each box."""

    names: list[str]
    keypoints: int = 0


def read_names(path: Path) -> YoloNames:
    """The classes that a file names.

    Raises:
        InputError: the file is missing or too large, or names no classes.
    """
    if is_file(path) and path.stat().st_size > _MOST_NAMES:
        raise InputError(f"{path}: is larger than a file of class names can be; {_WHAT}")
    text = read_text(path, _WHAT)
    if path.suffix not in (".yaml", ".yml"):
        return YoloNames(
            text.rstrip().split("\n") if text.strip() else []
        )  # a line is an index, so none is passed over
    try:
        content = parse_yaml(text, path, texts=True)  # every name as it is written: 1, yes and null are names too
    except YamlError as error:
        raise InputError(f"{error}; {_WHAT}") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        if set(names) != set(map(str, range(len(names)))):
            raise InputError(f"{path}: the keys of names are not 0, 1, 2, ...; number the classes so")
        names = [names[str(index)] for index in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: has no names, a list of texts; name each class")
    counted = content.get("nc")
    if isinstance(counted, str) and counted.isdecimal() and int(counted) != len(names):
        raise InputError(f"{path}: nc is {counted[:9]}, and names has {len(names)}; correct one of them")
    return YoloNames(names, _keypoints(content.get("kpt_shape"), path))


def _keypoints(shape: Any, path: Path) -> int:
    """How many numbers keypoints of a shape are, such as [17, 3]: a number of points, and of numbers for each."""
    if shape is None:
        return 0
    sides = shape if isinstance(shape, list) and len(shape) == _KEYPOINT_SIDES else []
    if not all(isinstance(side, str) and side.isascii() and side.isdigit() for side in sides) or not sides:
        raise InputError(f"{path}: kpt_shape is {str(shape)[:40]!r}, not two whole numbers such as [17, 3]; correct it")
    return int(sides[0]) * int(sides[1])

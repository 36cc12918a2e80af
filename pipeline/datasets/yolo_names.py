"""The names of YOLO's classes: a text with one a line, or `names` of a YAML file."""

from __future__ import annotations

from pathlib import Path

from pipeline.datasets.records import is_file, read_text
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import YamlError, parse_yaml

_MOST_NAMES = 1 << 20  # bytes of the file of names
_WHAT = "set dataset.yolo.names to the file that names the classes"


def read_names(path: Path) -> list[str]:
    """The names as they are written, by index.

    Raises:
        InputError: the file is missing or too large, or names no classes.
    """
    if is_file(path) and path.stat().st_size > _MOST_NAMES:
        raise InputError(f"{path}: is larger than a file of class names can be; {_WHAT}")
    text = read_text(path, _WHAT)
    if path.suffix not in (".yaml", ".yml"):
        return text.rstrip().split("\n") if text.strip() else []  # a line is an index, so none is passed over
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
    return names

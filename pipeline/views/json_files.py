"""The JSON files of stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pipeline.runtime.errors import InputError

Content = TypeVar("Content", list, dict)


def read_json(path: Path, kind: type[Content], what: str) -> Content:
    """What a file in a stage's folder holds, a list or a dict; `what` says in words what it should be.

    Raises:
        InputError: the file is missing or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); dvc repro {path.parent.name}") from error
    if not isinstance(content, kind):
        raise InputError(f"{path}: holds no {what}; dvc repro {path.parent.name}")
    return content


def read_metrics(folder: Path) -> dict[str, object]:
    """The figures of an evaluate stage by name; one of them, `class_AP50`, is a dict itself. Empty where the
    network that it is to judge does not exist (`pipeline.artifacts.absent`).

    Raises:
        InputError: the file is missing or holds something else.
    """
    return read_json(Path(folder) / "metrics.json", dict, "object with metrics by name")

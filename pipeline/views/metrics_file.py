"""metrics.json of an evaluate stage."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.errors import InputError


def read_metrics(folder: Path) -> dict[str, object]:
    """The figures by name; one of them, `class_AP50`, is a dict itself.

    Raises:
        InputError: the file is missing or holds something else.
    """
    path = Path(folder) / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); dvc repro {path.parent.name}") from error
    if not isinstance(metrics, dict):
        raise InputError(f"{path}: holds no metrics by name; dvc repro {path.parent.name}")
    return metrics

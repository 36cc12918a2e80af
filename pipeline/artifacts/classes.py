"""The classes of a data set."""

from __future__ import annotations

import json
from pathlib import Path


def read_classes(folder: Path) -> list[str]:
    """The C class names of the dataset or the resize stage, the background first; a label is an index into them."""
    names: list[str] = json.loads((Path(folder) / "classes.json").read_text(encoding="utf-8"))
    return names

"""Reads classes.json of a dataset stage that the user names, which may be damaged or from another tool."""

from __future__ import annotations

import json
from pathlib import Path

from pipeline.datasets.class_names import BACKGROUND
from pipeline.datasets.records import one_line
from pipeline.runtime.errors import InputError


def read_stage_classes(file: Path) -> list[str]:
    """The C class names, the background first.

    Raises:
        InputError: the file is missing, or is not a list of names that begins with the background.
    """
    again = "run the dataset stage again"
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {again}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not valid JSON ({one_line(error)}); {again}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or names[:1] != [BACKGROUND]:
        raise InputError(f"{file}: is not a list of class names with {BACKGROUND} first; {again}")
    if len(names) < 2:
        raise InputError(f"{file}: names no class; {again}")
    return names

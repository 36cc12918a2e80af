"""Stages that compute nothing, where it matters alone which of them DVC runs."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conftest import Project

_PYTHON = """#!/bin/sh
[ "$2" = stages.code ] && exec '{python}' "$@"
while [ "$1" != --out ]; do shift; done
mkdir -p "$2" && cp -R '{finished}'/"$2"/. "$2" && echo other > "$2/other"
"""


def stand_in(folder: Path, finished: Project) -> Path:
    """A folder with a `python` that leaves, whatever stage it is to run, what a finished run has of it and a file more,
    so that what reads it has to run too; stage `code` it runs."""
    folder.mkdir()
    (folder / "python").write_text(_PYTHON.format(finished=finished.root, python=sys.executable))
    (folder / "python").chmod(0o755)
    return folder

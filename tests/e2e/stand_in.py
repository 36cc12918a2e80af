"""Stages that compute nothing, where it matters alone which of them DVC runs."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Project

_PYTHON = """#!/bin/sh
while [ "$1" != --out ]; do shift; done
mkdir -p "$2" && cp -R '{finished}'/"$2"/. "$2" && echo other > "$2/other"
"""


def stand_in(folder: Path, finished: Project) -> Path:
    """A folder with a `python` that leaves, whatever stage it is to run, what a finished run has of it and a file more,
    so that what reads it has to run too."""
    folder.mkdir()
    (folder / "python").write_text(_PYTHON.format(finished=finished.root))
    (folder / "python").chmod(0o755)
    return folder

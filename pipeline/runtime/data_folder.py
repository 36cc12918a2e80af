"""Checks that DVC can store what stages write: data/ must lie in the project, even through links."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.runtime.errors import InputError


def check_data_folder(folder: Path, project: Path) -> None:
    """Refuse a data/ that is a link to a place outside of the project: DVC stores no outputs there. A folder that is
    outside the project is not a DVC output.

    Raises:
        InputError: it is such a link, or no folder.
    """
    if not _lies_in(os.path.abspath(folder), os.path.abspath(project)):
        return
    place, inside = os.path.realpath(folder), os.path.realpath(project)
    if not _lies_in(place, inside):
        raise InputError(
            f"{folder}: leads to {place}, outside of the project, where DVC stores no outputs; make it a folder again "
            "and move the whole project to that disk, or mount the disk's folder on it (mount --bind)"
        )
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise InputError(f"{folder}: is not a folder, and stages write there; make it one")


def _lies_in(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder

"""Names in the folders of a data root, without what systems leave and what is hidden."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.datasets.file_names import is_junk
from pipeline.datasets.image_suffixes import is_image_name


def folders_in(folder: Path) -> list[str]:
    """Folders in a folder, sorted."""
    return [name for name in _names(folder) if os.path.isdir(folder / name)]


def files_in(folder: Path, *suffixes: str) -> list[str]:
    """Files in a folder that end in one of the suffixes, whatever their case, sorted."""
    return [name for name in _names(folder) if name.lower().endswith(suffixes) and os.path.isfile(folder / name)]


def has_image(folder: Path, deep: bool = False) -> bool:
    """Whether there is an image in a folder, or with `deep` anywhere below it."""
    if not deep:
        return any(map(is_image_name, _names(folder)))
    return any(is_image_name(name) for _, _, names in os.walk(folder) for name in names if not is_junk(name))


def called(folder: Path, names: Iterable[str]) -> str | None:
    """The folder in a folder that has one of the names, whatever its case; the first of the names counts."""
    there = {name.lower(): name for name in reversed(folders_in(folder))}
    return next((there[name] for name in names if name in there), None)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith(".") and not is_junk(name))
    except OSError:
        return []

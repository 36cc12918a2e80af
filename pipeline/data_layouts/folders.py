"""Names in the folders of a data root, without what systems leave and what is hidden."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.datasets.file_names import is_junk
from pipeline.datasets.image_suffixes import is_image_name

_MOST_FOLDERS, _DEPTH = 300, 2  # looked into, and how far below the given one


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


def folders_below(root: Path) -> Iterator[Path]:
    """The folder and those below it, the nearer ones first; hidden and linked ones are left out."""
    level, left = [root] if os.path.isdir(root) else [], _MOST_FOLDERS
    for _ in range(_DEPTH + 1):
        yield from level
        left -= len(level)
        inside = (above / name for above in level for name in folders_in(above) if not (above / name).is_symlink())
        level = list(itertools.islice(inside, max(left, 0)))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith(".") and not is_junk(name))
    except OSError:
        return []

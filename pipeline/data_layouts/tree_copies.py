"""Trees of one data root that hold the same files, such as a backup beside the original: of equal names and bytes.

Files are read only where those of equal names have equal sizes, and no further than the first difference.
"""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.datasets.file_names import is_junk

_SPARE = {"backup", "backups", "bak", "copy", "copies", "old"}  # words in the paths of trees that are likely the copies


class _File(NamedTuple):
    path: str
    size: int  # bytes


class TreeFiles(NamedTuple):
    """The files of a tree: its images by their names, and the others by (part, name).

    `is_flat` says whether there are files in each part. Those of a part with folders alone are not known, so that such
    a tree is not a copy of another.
    """

    images: Mapping[str, _File]
    others: Mapping[tuple[str, str], _File]
    is_flat: bool


def tree_files(tree: Path, images: str, others: Sequence[str]) -> TreeFiles:
    """The files of a tree in its folder of images and in its other folders; those below these are not looked at."""
    photos = _files(tree / images)
    parts = {part: _files(tree / part) for part in others}
    known = {(part, name): file for part, own in parts.items() for name, file in own.items()}
    return TreeFiles(photos, known, bool(photos) and all(parts.values()))


def copies_among(trees: Mapping[str, TreeFiles]) -> dict[str, str]:
    """Trees by their paths -> another tree that has all their files and is kept."""
    copies: dict[str, str] = {}
    for name in sorted(trees, key=lambda name: (_is_spare(name), name), reverse=True):
        kept = (other for other in trees if other != name and other not in copies)
        original = next((other for other in kept if is_in(trees[name], trees[other])), None)
        if original is not None:
            copies[name] = original
    return copies


def overlapping(trees: Mapping[str, TreeFiles]) -> tuple[str, str, int] | None:
    """Two trees that share most images of one of them, and the number of images shared; None if there are none."""
    names = [*trees]
    for index, name in enumerate(names):
        for other in names[:index]:
            one, two = trees[other].images, trees[name].images
            least = min(len(one), len(two))
            alike = [image for image in one if image in two and one[image].size == two[image].size]
            if 2 * len(alike) > least > 0:
                shared = sum(_has_bytes_of(one[image], two[image]) for image in alike)
                if 2 * shared > least:
                    return other, name, shared
    return None


def is_in(part: TreeFiles, whole: TreeFiles) -> bool:
    """Whether a tree has all files of another."""
    if (
        not part.is_flat
        or not part.images.keys() <= whole.images.keys()
        or not part.others.keys() <= whole.others.keys()
    ):
        return False
    pairs = [(file, whole.images[name]) for name, file in part.images.items()]
    pairs += [(file, whole.others[name]) for name, file in part.others.items()]
    return all(one.size == two.size for one, two in pairs) and all(_has_bytes_of(*pair) for pair in pairs)


def _has_bytes_of(one: _File, two: _File) -> bool:
    try:
        return filecmp.cmp(one.path, two.path, shallow=False)
    except OSError:  # which reading will report
        return False


def _is_spare(name: str) -> bool:
    return bool(_SPARE & {*re.findall("[a-z]+", name.lower())})


def _files(folder: Path) -> dict[str, _File]:
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name: _File(entry.path, entry.stat().st_size)
                for entry in entries
                if entry.is_file() and not is_junk(entry.name)
            }
    except OSError:
        return {}

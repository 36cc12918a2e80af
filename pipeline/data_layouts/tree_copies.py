"""Trees of one data root that hold the same files, such as a backup beside the original: by names and sizes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.datasets.file_names import is_junk

_SPARE = {"backup", "backups", "bak", "copy", "copies", "old"}  # words in the paths of trees that are likely the copies


class TreeFiles(NamedTuple):
    """The files of a tree: (part, name) -> size, bytes. A part is the images, or annotations and lists."""

    images: Mapping[str, int]
    others: Mapping[tuple[str, str], int]


def tree_files(tree: Path, images: str, others: Sequence[str]) -> TreeFiles:
    """The files of a tree in its folder of images and in its other folders; those below these are not looked at."""
    return TreeFiles(
        _sizes(tree / images), {(part, name): size for part in others for name, size in _sizes(tree / part).items()}
    )


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
    """Two trees of which one has most images of the other, and how many; None where there are no such two."""
    names = [*trees]
    for index, name in enumerate(names):
        for other in names[:index]:
            one, two = trees[other].images, trees[name].images
            shared = len(one.items() & two.items())
            if 2 * shared > min(len(one), len(two)) > 0:
                return other, name, shared
    return None


def is_in(part: TreeFiles, whole: TreeFiles) -> bool:
    """Whether a tree has all files of another."""
    return part.images.items() <= whole.images.items() and part.others.items() <= whole.others.items()


def _is_spare(name: str) -> bool:
    return bool(_SPARE & {*re.findall("[a-z]+", name.lower())})


def _sizes(folder: Path) -> dict[str, int]:
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name: entry.stat().st_size for entry in entries if entry.is_file() and not is_junk(entry.name)
            }
    except OSError:
        return {}

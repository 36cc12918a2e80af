"""Equal photos under two names: in two splits a detector would be trained and judged on them.

Files are read only where their sizes are equal, and read whole only where 4 KiB of their start, middle and end are.
"""

from __future__ import annotations

import hashlib
import stat
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.datasets.base import SPLITS, Split
from pipeline.runtime.words import count_text

Listed = tuple[str, Split]  # path of an image below the data root, and a split that lists it
_SAMPLE = 4096  # bytes


def copies_in_later_splits(root: Path, listed: Iterable[Listed]) -> Mapping[Listed, Listed]:
    """Image -> one of the same bytes under another name in a later split of train, val and test; the first such one.

    What is missing, empty, cannot be read or is not a plain file has no copy.
    """
    copies: dict[Listed, Listed] = {}
    for group in _of_equal_bytes(root, list(listed), _are_several):
        ordered = sorted(group, key=lambda one: (SPLITS.index(one[1]), one[0]))
        for file, split in ordered:
            later = SPLITS.index(split) + 1
            copy = next((one for one in ordered if SPLITS.index(one[1]) >= later and one[0] != file), None)
            if copy is not None:
                copies[file, split] = copy
    return copies


def equal_files(root: Path, files: Iterable[str]) -> list[list[str]]:
    """Those of the same bytes together, each group sorted; files that have no copy are in none.

    Args:
        root: the data root.
        files: paths below it. What is missing, empty, cannot be read or is not a plain file has no copy.
    """
    listed: list[Listed] = [(file, SPLITS[0]) for file in dict.fromkeys(files)]
    return [sorted(file for file, _ in own) for own in _of_equal_bytes(root, listed, lambda own: len(own) > 1)]


def repeats(root: Path, listed: Iterable[Listed]) -> list[str]:
    """A line for each split that has images again in another folder, of the same name and bytes, as in a backup."""
    named: dict[tuple[str, Split], list[Listed]] = defaultdict(list)
    for one in dict.fromkeys(listed):
        named[one[0].rpartition("/")[2], one[1]].append(one)
    again: dict[Split, list[list[Listed]]] = defaultdict(list)
    for (_, split), own in named.items():
        if len(own) > 1:
            again[split] += _of_equal_bytes(root, own, lambda group: len(group) > 1)
    lines = []
    for split in SPLITS:
        if again[split]:
            count = sum(len(group) - 1 for group in again[split])
            first, second, *_ = sorted(file for file, _ in again[split][0])
            lines.append(
                f"{count_text(count, 'image')} of {split} {'has a copy' if count == 1 else 'have copies'} in another "
                f"folder, such as {first} and {second}; remove the copies, or name the folders to read"
            )
    return lines


def _are_several(listed: Sequence[Listed]) -> bool:
    """Whether there are several splits and names."""
    return len({split for _, split in listed}) > 1 and len({file for file, _ in listed}) > 1


def _of_equal_bytes(
    root: Path, listed: list[Listed], matters: Callable[[Sequence[Listed]], bool]
) -> list[list[Listed]]:
    """Those of equal bytes together, but for groups that do not matter."""
    groups = [listed]
    for key in (_size, _samples, _digest):
        groups = [group for own in groups for group in _parted(root, own, key) if matters(group)]
    return groups


def _parted(root: Path, listed: list[Listed], key: Callable[[Path], Hashable]) -> Iterable[list[Listed]]:
    """Those of equal keys together."""
    groups: dict[Hashable, list[Listed]] = defaultdict(list)
    for one in listed:
        try:
            value = key(root / one[0])
        except (OSError, ValueError):  # ValueError: a name that cannot be one
            continue
        if value is not None:
            groups[value].append(one)
    return groups.values()


def _size(path: Path) -> int | None:
    found = path.stat()
    return found.st_size if stat.S_ISREG(found.st_mode) and found.st_size else None


def _samples(path: Path) -> bytes:
    with path.open("rb") as file:
        size = path.stat().st_size
        found = hashlib.sha256(file.read(_SAMPLE))
        for place in (size // 2, max(0, size - _SAMPLE)):
            file.seek(place)
            found.update(file.read(_SAMPLE))
        return found.digest()


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()

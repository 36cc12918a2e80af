"""Which images stay in one split: equal and nearly equal photos, and those in whose names a pattern finds the same."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pipeline.datasets.same_content import equal_files
from pipeline.datasets.splitting.photo_prints import Print, nearly_equal, print_of
from pipeline.runtime.progress import track

Reason = Literal["bytes", "look", "name"]
REASONS: tuple[Reason, ...] = ("bytes", "look", "name")


class Belonging:
    """Images that are joined to groups, by way of others too.

    Args:
        files: of the images, each once.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._above = {file: file for file in files}
        self._reasons: dict[str, set[Reason]] = defaultdict(set)

    def join(self, files: Iterable[str], reason: Reason) -> None:
        """Have images stay together."""
        files = list(files)
        for file in files[1:]:
            one, other = sorted((self._top(files[0]), self._top(file)))
            self._above[other] = one
        for file in files if len(files) > 1 else ():
            self._reasons[file].add(reason)

    def groups(self) -> list[list[str]]:
        """All images, each group in the order of its names, groups in that of their first."""
        found: dict[str, list[str]] = defaultdict(list)
        for file in sorted(self._above):
            found[self._top(file)].append(file)
        return list(found.values())

    def reasons(self, file: str) -> list[Reason]:
        """Why an image is in its group; none of one that stands alone."""
        return [reason for reason in REASONS if reason in self._reasons[file]]

    def _top(self, file: str) -> str:
        while self._above[file] != file:
            self._above[file] = self._above[self._above[file]]
            file = self._above[file]
        return file


def join_equal_bytes(belonging: Belonging, root: Path, files: Sequence[str]) -> None:
    """Join files of the same bytes."""
    for equal in equal_files(root, files):
        belonging.join(equal, "bytes")


def join_looking_alike(belonging: Belonging, root: Path, files: Sequence[str]) -> None:
    """Join nearly equal photos; each is decoded."""
    printed: list[str] = []
    prints: list[Print] = []
    for file in track(files, "compare photos", total=len(files)):
        own = print_of(root / file)
        if own is not None:
            printed.append(file)
            prints.append(own)
    for alike in nearly_equal(prints):
        belonging.join((printed[index] for index in alike), "look")


def join_by_name(belonging: Belonging, pattern: re.Pattern[str], files: Sequence[str]) -> int:
    """Join files in whose paths a pattern finds the same: the same groups, or the same text where it has none.

    Returns:
        In how many files it finds nothing, or no text in any of its groups; these stand alone.
    """
    found: dict[tuple[str | None, ...], list[str]] = defaultdict(list)
    alone = 0
    for file in files:
        match = pattern.search(file)
        texts = (match.groups() or (match[0],)) if match else ()
        if any(texts):
            found[texts].append(file)
        else:
            alone += 1
    for own in found.values():
        belonging.join(own, "name")
    return alone

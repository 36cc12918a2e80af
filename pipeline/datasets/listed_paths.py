"""What a path means that a list or a settings file names, where it was written on another machine or for another tool.

Tools write absolute paths, paths from the folder in which they run (`data/obj_train_data/a.jpg` of darknet,
`../train/images` of Roboflow), paths from the list's own folder, and backslashes. What is meant is the file below the
data root that the end of the path names. A list's lines agree: where one is found without `/set`, another below `/set`
is missing rather than a file of its name somewhere else.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path

_DRIVE = re.compile(r"[A-Za-z]:")

Parts = tuple[str, ...]


class ListedPaths:
    """Finds what paths mean; one that is there as it is written means itself.

    Args:
        root: the data root.
        folder: below it, of the file that names the paths; "" for the root.
        texts: all paths of that file, in any order; none for paths that have nothing to do with one another.
    """

    def __init__(self, root: Path, folder: str = "", texts: Iterable[str] = ()) -> None:
        self._root, self._folder = root, folder
        self._there: dict[str, bool] = {}  # first folder of a path -> whether it is in the root
        self._known: dict[
            Parts, tuple[int, str]
        ] = {}  # start of paths -> how many parts go, what comes before the rest
        for text in texts:
            self._learn(text)

    def find(self, text: str) -> str:
        """The path below the root, "" for the root itself; the text as it is where nothing is there."""
        if (written := self._as_written(text)) is not None:
            return written
        parts = _parts(text)
        # The shortest start that is known: a file of the same name elsewhere gives a longer one.
        start = next((parts[:size] for size in range(1, len(parts)) if parts[:size] in self._known), None)
        if start is not None:
            gone, base = self._known[start]
            return "/".join(filter(None, (base, *parts[gone:])))
        path = self._by_its_end(parts)
        return text if path is None else path

    def _learn(self, text: str) -> None:
        parts, path = _parts(text), self._as_written(text)
        if path is None:
            path = self._by_its_end(parts)
        if path is None:
            return
        found = tuple(path.split("/"))
        if len(found) < len(parts):
            gone = len(parts) - len(found)
            start, change = parts[:gone], (gone, "")
        elif len(parts) > 1 and found[-len(parts) :] == parts:
            start, change = parts[:1], (0, "/".join(found[: -len(parts)]))
        else:
            return
        self._known[start] = min(self._known.get(start, change), change)  # as much of a path as there is

    def _as_written(self, text: str) -> str | None:
        """From the root or from the list's folder."""
        if _is_below(text) and self._exists(posixpath.normpath(text)):
            return _plain(posixpath.normpath(text))
        beside = posixpath.normpath(posixpath.join(self._folder, text.replace("\\", "/")))
        return beside if self._folder and _is_below(beside) and self._exists(beside) else None

    def _by_its_end(self, parts: Parts) -> str | None:
        """The longest end of a path that is there."""
        for start in range(len(parts)):
            if start < len(parts) - 1:
                first = parts[start]
                if first not in self._there:
                    self._there[first] = self._exists(first)
                if not self._there[first]:
                    continue
            if self._exists(path := "/".join(parts[start:])):
                return path
        return None

    def _exists(self, path: str) -> bool:
        try:
            return os.path.exists(self._root / path)
        except ValueError:  # a name that cannot be one
            return False


def _is_below(text: str) -> bool:
    return not text.startswith("/") and "\\" not in text and ".." not in text.split("/")


def _plain(path: str) -> str:
    return "" if path == "." else path


def _parts(text: str) -> Parts:
    """The parts of a path without drive, root and what climbs up."""
    text = _DRIVE.sub("", text.replace("\\", "/"), count=1) if _DRIVE.match(text) else text.replace("\\", "/")
    parts = [part for part in posixpath.normpath(text).split("/") if part not in ("", ".")]
    while parts and parts[0] == "..":
        del parts[0]
    return tuple(parts)

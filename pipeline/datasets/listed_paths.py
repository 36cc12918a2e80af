"""What a path means that a list or a settings file names, where it was written on another machine or for another tool.

Tools write absolute paths, paths from the folder in which they run (`data/obj_train_data/a.jpg` of darknet,
`../train/images` of Roboflow), paths from the list's own folder, and backslashes. What is meant is the file below the
data root that the end of the path names.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

_DRIVE = re.compile(r"[A-Za-z]:")


class ListedPaths:
    """Finds what paths mean; one that is there as it is written means itself.

    Args:
        root: the data root.
        folder: below it, of the file that names the paths; "" for the root.
    """

    def __init__(self, root: Path, folder: str = "") -> None:
        self._root, self._folder = root, folder
        self._prefix: list[str] | None = None  # what was taken off the last path that was found so

    def find(self, text: str) -> str:
        """The path below the root, "" for the root itself; the text as it is where nothing is there."""
        if _is_below(text) and self._exists(posixpath.normpath(text)):
            return _plain(posixpath.normpath(text))
        parts = _parts(text)
        beside = posixpath.normpath(posixpath.join(self._folder, text.replace("\\", "/")))
        if self._folder and _is_below(beside) and self._exists(beside):
            return beside
        prefix = self._prefix
        if prefix is not None and parts[: len(prefix)] == prefix and self._exists("/".join(parts[len(prefix) :])):
            return "/".join(parts[len(prefix) :])
        for start in range(len(parts)):
            path = "/".join(parts[start:])
            if self._exists(path):
                self._prefix = parts[:start]
                return path
        if prefix and parts[: len(prefix)] == prefix:
            return "/".join(parts[len(prefix) :])  # it is missing where the others are
        return text

    def _exists(self, path: str) -> bool:
        try:
            return os.path.exists(self._root / path)
        except ValueError:  # a name that cannot be one
            return False


def _is_below(text: str) -> bool:
    return not text.startswith("/") and "\\" not in text and ".." not in text.split("/")


def _plain(path: str) -> str:
    return "" if path == "." else path


def _parts(text: str) -> list[str]:
    """The parts of a path without drive, root and what climbs up."""
    text = _DRIVE.sub("", text.replace("\\", "/"), count=1) if _DRIVE.match(text) else text.replace("\\", "/")
    parts = [part for part in posixpath.normpath(text).split("/") if part not in ("", ".")]
    while parts and parts[0] == "..":
        del parts[0]
    return parts

"""Where the image lies that a tool's file names: tools write the name alone, the path on the annotator's machine, or a
URL, and images often lie in another folder than the file."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from urllib.parse import unquote

from pipeline.datasets.folders import look_below
from pipeline.datasets.image_suffixes import is_image_name
from pipeline.datasets.records import below_root
from pipeline.datasets.written_names import Found
from pipeline.runtime.errors import InputError


class ImageFinder:
    """Finds images below a data root by what annotation files call them.

    Args:
        root: the data root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[str]] | None = None

    def files(self) -> list[str]:
        """Paths below the root of all images."""
        return [path for paths in self._index().values() for path in paths]

    def has(self, name: str) -> bool:
        """Whether an image is called so, in whatever folder."""
        return name in self._index()

    def is_there(self, path: str) -> bool:
        """Whether an image lies at a path below the root."""
        return path in self._index().get(path.rpartition("/")[2], ())

    def find(self, text: str, where: str, folder: str) -> Found:
        """The image that a name means; where none does, the path that it would have.

        It is the one at that path from the annotation's folder, or from the root; else the one of that name whose
        folders agree with the written ones as far as they go.

        Args:
            text: the name as written.
            where: names the file and the place in it.
            folder: of the annotation, below the root.

        Raises:
            InputError: it is empty, or several images fit.
        """
        name, ways = text, []
        if "://" in name or name.startswith("file:"):
            name = unquote(name.partition("?")[0].partition(":")[2]).lstrip("/")
            ways.append("a URL")
        if "\\" in name:
            name = name.replace("\\", "/")
            ways.append("backslashes")
        last = name.rpartition("/")[2]
        if not last.strip():
            raise InputError(f"{where}: {text[:60]!r} names no image; write its name")
        for path in (posixpath.normpath(f"{folder}/{name}" if folder else name), posixpath.normpath(name)):
            if self.is_there(path):
                return Found(path, " and ".join(ways))
        written = name.split("/")
        fitting: dict[int, list[str]] = {}
        for path in self._index().get(last, ()):
            fitting.setdefault(_agreeing(path.split("/"), written), []).append(path)
        if not fitting:
            return Found(below_root(last, where), "")
        agree, best = max(fitting.items())
        beside = [path for path in best if path.rpartition("/")[0] == folder]
        if len(best) > 1 and len(beside) != 1:
            raise InputError(
                f"{where}: {text[-60:]!r} may be {best[0]} or {best[1]}; write the path from the data root"
            )
        if agree < len([part for part in written if part not in ("", ".", "..")]) and not ways:
            ways.append("folders that are not there")
        return Found((beside or best)[0], " and ".join(ways))

    def _index(self) -> dict[str, list[str]]:
        if self._by_name is None:
            self._by_name = {}
            start = len(os.fspath(self.root)) + 1
            for path in sorted(look_below(self.root).files):
                if is_image_name(path):
                    self._by_name.setdefault(path.rpartition("/")[2], []).append(path[start:])
        return self._by_name


def _agreeing(path: list[str], written: list[str]) -> int:
    """How many parts, from the last on, are the same."""
    count = 0
    for one, other in zip(reversed(path), reversed(written), strict=False):
        if one != other:
            break
        count += 1
    return count

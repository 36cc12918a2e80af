"""Where the image lies that a tool's file names: tools write the name alone, the path on the annotator's machine, or a
URL, and images often lie in another folder than the file."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from pipeline.datasets.file_names import is_plain
from pipeline.datasets.folders import look_below
from pipeline.datasets.image_suffixes import is_image_name
from pipeline.datasets.written_names import OTHER_CAPITALS, Found
from pipeline.runtime.errors import InputError

_DRIVE = re.compile(r"[A-Za-z]:/")


class ImageFinder:
    """Finds images below a data root by what annotation files call them.

    Args:
        root: the data root.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[str]] | None = None
        self._by_lower: dict[str, str] | None = None  # names by lower case, "" of several; made where it is needed
        self._folders: set[str] = set()  # their names, at whatever depth

    def files(self) -> list[str]:
        """Paths below the root of all images."""
        return [path for paths in self._index().values() for path in paths]

    def has(self, name: str) -> bool:
        """Whether an image is called so, in whatever folder, with other capitals too where it is the only one."""
        return self._with_capitals(name) in self._index()

    def is_there(self, path: str) -> bool:
        """Whether an image lies at a path below the root."""
        return path in self._index().get(path.rpartition("/")[2], ())

    def find(self, text: str, where: str, folder: str) -> Found:
        """The image that a name means; where none does, the path that it would have.

        It is the one at that path from the annotation's folder, from the root, or from a folder below it. The folders
        of a URL and of an absolute path are another machine's: there the image counts whose folders agree with them as
        far as they go, unless the root has one of those that do not agree.

        Args:
            text: the name as written.
            where: names the file and the place in it.
            folder: of the annotation, below the root.

        Raises:
            InputError: it is empty or has a line break in it, or several images fit.
        """
        name, ways = text, []
        if "://" in name or name.startswith("file:"):
            name = unquote(name.partition("?")[0].partition(":")[2]).lstrip("/")
            ways.append("a URL")
        if "\\" in name:
            name = name.replace("\\", "/")
            ways.append("backslashes")
        is_foreign = ways[:1] == ["a URL"] or name.startswith("/") or _DRIVE.match(name) is not None
        name = name.lstrip("/")
        last = self._with_capitals(name.rpartition("/")[2])
        if not name.endswith(last):
            name = name[: len(name) - len(last)] + last
            ways.append(OTHER_CAPITALS)
        written = [part for part in name.split("/") if part not in ("", ".", "..")]
        if not last.strip() or not written:
            raise InputError(f"{where}: {text[:60]!r} names no image; write its name")
        _check(written, where)
        for path in (posixpath.normpath(f"{folder}/{name}" if folder else name), posixpath.normpath(name)):
            if self.is_there(path):
                _check(path.split("/"), where)
                return Found(path, " and ".join(ways))
        fitting: dict[int, list[str]] = {}
        for path in self._index().get(last, ()):
            fitting.setdefault(_agreeing(path.split("/"), written), []).append(path)
        agree, best = max(fitting.items(), default=(0, []))
        here = [index for index, part in enumerate(written[:-1]) if part in self._folders] if is_foreign else [0]
        if not best or (agree < len(written) and not (is_foreign and _fits(agree, best[0], len(written), here))):
            return Found("/".join(written[here[0] if here else -1 :]), "")
        beside = [path for path in best if path.rpartition("/")[0] == folder]
        if len(best) > 1 and len(beside) != 1:
            raise InputError(
                f"{where}: {text[-60:]!r} may be {best[0]} or {best[1]}; write the path from the data root"
            )
        if agree < len(written) and not ways:
            ways.append("folders that are not there")
        found = (beside or best)[0]
        _check(found.split("/"), where)
        return Found(found, " and ".join(ways))

    def _with_capitals(self, name: str) -> str:
        """The name of the one image that is called so but for capitals; the name itself where there is one, or none."""
        index = self._index()
        if name in index:
            return name
        if self._by_lower is None:
            self._by_lower = {}
            for own in index:
                self._by_lower[own.lower()] = "" if own.lower() in self._by_lower else own
        other = self._by_lower.get(name.lower(), "")
        return other if len(other) == len(name) else name

    def _index(self) -> dict[str, list[str]]:
        if self._by_name is None:
            self._by_name = {}
            start = len(os.fspath(self.root)) + 1
            for path in sorted(look_below(self.root).files):
                self._folders.update(path[start:].split("/")[:-1])
                if is_image_name(path):
                    self._by_name.setdefault(path.rpartition("/")[2], []).append(path[start:])
        return self._by_name


def _check(parts: Sequence[str], where: str) -> None:
    for part in parts:
        if not is_plain(part):
            what = "has a control character or a line break in it, or is too long"
            raise InputError(f"{where}: the name {part[:60]!r} {what}; rename it")


def _fits(agree: int, path: str, written: int, here: Sequence[int]) -> bool:
    """Whether a path written on another machine can mean an image here, given how many of its last parts agree.

    It can if all folders of the image's own path agree, or if no written folder that disagrees exists in the root.

    Args:
        written: number of parts of the written path. here: indices of those that are folders of the root.
    """
    return agree == path.count("/") + 1 > 1 or not here or here[0] >= written - agree


def _agreeing(path: list[str], written: list[str]) -> int:
    """How many parts, from the last on, are the same."""
    count = 0
    for one, other in zip(reversed(path), reversed(written), strict=False):
        if one != other:
            break
        count += 1
    return count

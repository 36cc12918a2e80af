"""Which file a name in an annotation means where it is written as another system writes it.

Annotations travel: Windows separates folders by backslashes, tools write the absolute path that an image had where it
was annotated, and macOS writes an accent as a character of its own (Unicode's NFD), others mostly do not (NFC).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.datasets.name_forms import by_form, in_other_form
from pipeline.datasets.records import Change, below_root
from pipeline.runtime.errors import InputError

_ABSOLUTE = re.compile(r"/|[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]*://")


OTHER_FORM = "its accents in another way"


def renamed(text: str, ways: str, path: str) -> Change:
    """The finding that a name means the file at `path`; `ways` says how else it is written, as "backslashes"."""
    detail = f"{text[:200]!r} is written with {ways}"
    return Change("file_name", detail, f"read as {path}", "write it as the path of its file, with /")


class Found(NamedTuple):
    """A path below the data root, whether or not a file is there, and how the name was written, "" if just so."""

    path: str
    written: str

    def changes(self, text: str) -> tuple[Change, ...]:
        """The finding that the name `text` was read otherwise than it is written; none where it was not."""
        return (renamed(text, self.written, self.path),) if self.written else ()


class WrittenNames:
    """Finds files below a data root by the names of one annotation file.

    Args:
        root: the data root.
        names: all names of the file, whatever their types. By the absolute ones whose ends are paths of files below
            the root it is known what to take off all.
    """

    def __init__(self, root: Path, names: Iterable[Any]) -> None:
        self._root = root
        self._folders: dict[str, tuple[set[str], dict[str, str]]] = {}  # names in a folder, and `by_form` of them
        self._taken: dict[str, str] = {}  # path -> the absolute name that it was found by
        real = os.path.realpath(root)
        self._prefixes = [f"{os.path.abspath(root)}/", f"{real}/"]
        found: set[str] = set()
        for name in names:
            name = name.replace("\\", "/") if isinstance(name, str) else ""
            if _ABSOLUTE.match(name) and not any(map(name.startswith, (*self._prefixes, *found))):
                parts = name.split("/")
                for index in range(1, len(parts)):
                    if parts[index] and self._is_there("/".join(parts[index:])):
                        found.add("/".join(parts[:index]) + "/")
                        break
        # Of /a/ and /a/b/ the first is the root there: what is missing under it is missing here, not another file.
        self._prefixes += sorted(found, key=len)

    def find(self, text: Any, where: str, folder: str = "") -> Found:
        """The file that a name means.

        Args:
            text: the name as written.
            where: names the file and the place in it.
            folder: below the root, which names that are not absolute are relative to; "" for the root.

        Raises:
            InputError: it can mean none below the root, or the same as another absolute name.
        """
        if not isinstance(text, str):
            below_root(text, where)
        name, ways = text, []
        if "\\" in name:
            name = name.replace("\\", "/")
            ways.append("backslashes")
        if _ABSOLUTE.match(name):
            path = self._below(text, name, where)
            ways = ["an absolute path"]
        else:
            path = below_root(name, where)
            path = f"{folder}/{path}" if folder else path
        if not (path.isascii() or self._is_there(path)):
            other = self._in_other_form(path)
            if other != path:
                path = other
                ways.append(OTHER_FORM)
        return Found(path, " and ".join(ways))

    def _below(self, text: str, name: str, where: str) -> str:
        prefix = next((prefix for prefix in self._prefixes if name.startswith(prefix)), None)
        path = below_root(text if prefix is None else name[len(prefix) :], where)
        first = self._taken.setdefault(path, name)
        if first != name:
            raise InputError(
                f"{where}: {first[-60:]!r} and {name[-60:]!r} would both be {path}; write them relative to the data "
                "root"
            )
        return path

    def _in_other_form(self, path: str) -> str:
        """The path that is there and differs from this in the form of its accents alone; itself where none is."""
        known: list[str] = []
        for part in path.split("/"):
            folder = "/".join(known)
            if not part.isascii() and folder not in self._folders:
                names = set(_listing(self._root / folder))
                self._folders[folder] = names, by_form(names)
            known.append(part if part.isascii() else in_other_form(part, *self._folders[folder]))
        return "/".join(known)

    def _is_there(self, path: str) -> bool:
        try:
            return os.path.isfile(self._root / path)
        except ValueError:  # a NUL, or half a character
            return False


def _listing(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # no such folder, which readers report of each image in it
        return []

"""Which file a name in an annotation means where it is written as another system writes it.

Annotations travel: Windows separates folders by backslashes, tools write the absolute path that an image had where it
was annotated, and macOS writes an accent as a character of its own (Unicode's NFD), others mostly do not (NFC).
Neither of these systems tells a.jpg from a.JPG. Tools of the web write a space as %20.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from pipeline.datasets.file_names import is_plain
from pipeline.datasets.name_forms import by_form, in_other_form
from pipeline.datasets.records import Change, below_root
from pipeline.runtime.errors import InputError

_ABSOLUTE = re.compile(r"/|[A-Za-z]:/|[A-Za-z][A-Za-z0-9+.-]*://")


OTHER_FORM = "its accents in another way"
OTHER_CAPITALS = "its capitals in another way"


def renamed(text: str, ways: str, path: str) -> Change:
    """The finding that a name means the file at `path`; `ways` says how else it is written, as "backslashes"."""
    detail = f"{text[:200]!r} is written with {ways}"
    return Change("file_name", detail, f"read as {path}", "write it as the path of its file, with /", name=text)


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
        self._folders: dict[str, _Folder] = {}
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
        path, way = self._as_there(path)
        return Found(path, " and ".join(ways + [way] * bool(way)))

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

    def _as_there(self, path: str) -> tuple[str, str]:
        """The path that is there and means the same as this, and how this is written; itself and "" where none is."""
        if self._is_listed(path):
            return path, ""
        decoded = unquote(path)
        tries = [(path, "", False), (path, OTHER_CAPITALS, True)]
        if "%" in path and decoded != path and all(map(is_plain, decoded.split("/"))):
            tries += [(decoded, "percent signs as in a URL", False)]
        for text, way, any_capitals in tries:
            other = self._in_other_form(text, any_capitals)
            if other != path and self._is_listed(other):
                return other, way or OTHER_FORM
        return path, ""

    def _in_other_form(self, path: str, any_capitals: bool) -> str:
        """The existing path whose parts match these up to the form of accents and to upper and lower case."""
        known: list[str] = []
        for part in path.split("/"):
            own = self._folder("/".join(known))
            name = in_other_form(part, own.names, own.forms)
            if any_capitals and name not in own.names:
                name = own.with_capitals(part) or name
            known.append(name)
        return "/".join(known)

    def _is_listed(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        return name in self._folder(folder).names

    def _folder(self, path: str) -> _Folder:
        if path not in self._folders:
            self._folders[path] = _Folder(_listing(self._root / path))
        return self._folders[path]

    def _is_there(self, path: str) -> bool:
        try:
            return os.path.isfile(self._root / path)
        except ValueError:  # a NUL, or half a character
            return False


class _Folder:
    """The names in a folder, `by_form` of them, and those that differ from one another in more than capitals."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)
        self.forms = by_form(self.names)
        self._lower: dict[str, str] | None = None  # made where it is needed

    def with_capitals(self, name: str) -> str:
        """The one name that is this but for capitals; "" where there is none or several are."""
        if self._lower is None:
            self._lower = {}
            for own in self.names:
                form = _without_capitals(own)
                self._lower[form] = "" if form in self._lower else own
        return self._lower.get(_without_capitals(name), "")


def _without_capitals(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()


def _listing(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (OSError, ValueError):  # no such folder, which readers report of each image in it; or no name of one
        return []

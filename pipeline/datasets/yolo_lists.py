"""Which images YOLO's folders and lists name, and where the labels of an image lie."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipeline.datasets.base import Split
from pipeline.datasets.faults import Faults
from pipeline.datasets.file_names import is_junk, is_plain, printable
from pipeline.datasets.folders import look_below
from pipeline.datasets.image_suffixes import READ, is_image_name, without_twins
from pipeline.datasets.listed_paths import ListedPaths
from pipeline.datasets.records import Change, below_root, read_text, to_floats
from pipeline.datasets.splitting.pool import REMEDY
from pipeline.datasets.written_names import WrittenNames, renamed
from pipeline.runtime.errors import InputError

_IMAGES, _LABELS = "images", "labels"  # folders side by side


class Entry(NamedTuple):
    """An image that a split names, in a folder or a list."""

    image_id: str
    file: str  # below the root
    split: Split
    place: str  # the folder or list
    changes: tuple[Change, ...] = ()  # where a list does not name it by its path below the root


@dataclass
class YoloLists:
    """The folders and lists of a data root.

    Attributes:
        root: the data root.
        faults: whether to continue after faulty lists.
        junk: paths that were passed over.
    """

    root: Path
    faults: Faults
    junk: list[str] = field(default_factory=list)

    def entries(self, splits: Mapping[Split, Sequence[str]]) -> list[Entry]:
        """All images of all splits in ascending image_id, each once a split.

        Raises:
            InputError: a folder or list is missing, malformed or without images.
        """
        listed: dict[tuple[str, Split], Entry] = {}
        for split, places in splits.items():
            for place in places:
                with self.faults.going_on():
                    for file, changes in self._images(place, split):
                        listed[file, split] = Entry(_image_id(file), file, split, place, changes)
        return sorted(listed.values())

    def _images(self, place: str, split: Split) -> Iterator[tuple[str, tuple[Change, ...]]]:
        """Each image of a folder or list, and what the list names otherwise than by its path."""
        place = "" if place in (".", "./") else below_root(place, f"dataset.yolo.{split}")
        path = self.root / place
        found: list[str] = []
        if os.path.isdir(path):
            found = without_twins(filter(is_image_name, self._files_below(place)))
            yield from ((file, ()) for file in found)
            yield from ((file, ()) for file in self._missing_images(place, found) if found)
        else:
            before = len(self.faults.lines)
            for file, changes in self._listed(place, split):
                found.append(file)
                yield file, changes
            if not found and len(self.faults.lines) > before:
                return
        if not found:
            raise InputError(f"{path}: has no images ({', '.join(READ)}); correct dataset.yolo.{split}")

    def _listed(self, place: str, split: Split) -> Iterator[tuple[str, tuple[Change, ...]]]:
        path = self.root / place
        taken: dict[str, str] = {}
        remedy = f"set dataset.yolo.{split} to folders or lists that are there, {REMEDY}"
        lines = [line.strip() for line in read_text(path, remedy).split("\n")]
        listed = (line for line in lines if line and not is_junk(line.rpartition("/")[2]))
        paths, names = ListedPaths(self.root, place.rpartition("/")[0], listed), WrittenNames(self.root, ())
        for index, line in enumerate(lines, 1):
            if is_junk(line.rpartition("/")[2]):
                self.junk.append(line)
            elif line:
                with self.faults.going_on():
                    found = names.find(below_root(paths.find(line), f"{path}: line {index}"), str(path))
                    if not is_image_name(found.path):
                        raise InputError(
                            f"{path}: {found.path[:60]!r} is not an image file; write paths of images with their suffix"
                        )
                    first = taken.setdefault(found.path, line)
                    if first.replace("\\", "/") != line.replace("\\", "/") and found.path not in (first, line):
                        raise InputError(
                            f"{path}: {first[-60:]!r} and {line[-60:]!r} would both be {found.path}; write them "
                            "relative to the data root"
                        )
                    ways = found.written or _other_way(line, found.path, place.rpartition("/")[0])
                    where = f"line {index} of {place}: "
                    change = renamed(line, ways, found.path)
                    yield found.path, (change._replace(detail=where + change.detail),) if ways else ()

    def _files_below(self, place: str) -> list[str]:
        """Paths below the root of a folder's files, those of linked folders included."""
        path = self.root / place
        below, start = look_below(path), len(os.fspath(path))
        self.junk += ((place + name[start:]).removeprefix("/") for name in below.junk)
        files = []
        for folder, reason in below.unreadable:
            with self.faults.going_on():
                raise InputError(f"{folder}: cannot be read ({reason}); make it readable")
        for name in below.files:
            with self.faults.going_on():
                file = (place + name[start:]).removeprefix("/")
                if not all(map(is_plain, file.split("/"))):
                    what = "a control character, a line break or a backslash in its name"
                    raise InputError(f"{self.root}: {printable(file)!r} has {what}; rename it")
                files.append(file)
        return files

    def _missing_images(self, place: str, found: Sequence[str]) -> list[str]:
        """What the labels of a folder's images call images that are not there, such as "images/train/a.*"."""
        labels = _in_labels(place.split("/"))
        label_files = {label for file in found for label in label_files_of(file)}
        missing = []
        folder = os.fspath(self.root / labels)
        for path in look_below(folder).files if os.path.isdir(folder) else ():
            label = (labels + path[len(folder) :]).removeprefix("/")
            if (
                label not in label_files
                and label.endswith((".txt", ".TXT"))
                and "/." not in label
                and _is_label_file(Path(path), label)
            ):
                missing.append(f"{_in_images(label[:-4].split('/'))}.*")
        return missing


def label_files_of(file: str) -> list[str]:
    """Where the labels of an image may lie, the first that is there counts: a/labels/b.txt of a/images/b.jpg, and
    beside the image; the suffix may be in capitals."""
    *folders, name = file.rpartition(".")[0].split("/")
    beside = "/".join([*folders, f"{name}.txt"])
    labels = f"{_in_labels([*folders, ''])}{name}.txt"
    places = [labels] if labels == beside else [labels, beside]
    return [*places, *(f"{place[:-4]}.TXT" for place in places)]


def _other_way(line: str, file: str, folder: str) -> str:
    """How a line is written that means a file, "" where it is its path from the root or from the list's folder."""
    if file in (posixpath.normpath(line), posixpath.normpath(posixpath.join(folder, line))):
        return ""
    if "\\" in line:
        return "backslashes"
    return "an absolute path" if line.startswith("/") else "folders that are not in the data root"


def _image_id(file: str) -> str:
    return file.rpartition(".")[0].replace("/", "_")


def _is_label_file(path: Path, label: str) -> bool:
    """Whether a text that belongs to no image is one of boxes; notes and lists of classes lie about too."""
    if not os.path.isfile(path):  # a pipe would be waited for
        return False
    try:
        with path.open(encoding="utf-8-sig") as file:
            line = next((line for line in file if line.strip()), "")
    except (OSError, UnicodeDecodeError):
        return False
    fields = line.split()
    return (len(fields) >= 5 and not to_floats(fields)[1]) or (not fields and _LABELS in label.lower().split("/"))


def _in_labels(parts: Sequence[str]) -> str:
    """A path with the last folder "images" called "labels"."""
    return _renamed(parts, _IMAGES, _LABELS)


def _in_images(parts: Sequence[str]) -> str:
    return _renamed(parts, _LABELS, _IMAGES)


def _renamed(parts: Sequence[str], old: str, new: str) -> str:
    """The path with the last folder `old` called `new`, written large where that is."""
    parts = list(parts)
    for index in reversed(range(len(parts))):
        if parts[index].lower() == old:
            word = parts[index]
            parts[index] = new.upper() if word.isupper() else new.title() if word[0].isupper() else new
            break
    return "/".join(parts)

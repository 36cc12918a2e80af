"""Which images the splits of a VOC tree list, and where their files and annotations lie.

A split is a list, in ImageSets/Main, or a folder: all XML files and images in it, as annotation tools export them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pipeline.datasets.base import Split
from pipeline.datasets.faults import Faults
from pipeline.datasets.file_names import is_junk, is_plain
from pipeline.datasets.image_lists import read_image_list
from pipeline.datasets.image_suffixes import is_image_name, without_twins
from pipeline.datasets.name_forms import by_form, in_other_form
from pipeline.datasets.records import Change, is_file, names_in
from pipeline.datasets.splitting.pool import REMEDY
from pipeline.datasets.written_names import OTHER_FORM, renamed
from pipeline.runtime.errors import InputError

LAYOUT = "Annotations, JPEGImages and ImageSets/Main"


class Entry(NamedTuple):
    """An image that a split lists."""

    image_id: str
    file: str  # below the root, as is the annotation; both may be missing
    annotation: str
    split: Split
    listed_in: str
    changes: tuple[Change, ...] = ()

    def written(self, text: str, ways: Sequence[str]) -> Entry:
        """The same with the finding that its name is written as `text`, with `ways`; itself where there are none."""
        return self._replace(changes=(renamed(text, " and ".join(ways), self.file),)) if ways else self


@dataclass
class VocLists:
    """The lists of a data root.

    Attributes:
        root: the data root.
        annotations: folder of the XML files in the root or a sub-tree, "." for that itself. Where it holds {folder},
            that stands for the sub-tree and the folder lies below the root: annotations/{folder}.
        images: folder of the images, likewise.
        lists: folder of the lists, likewise.
        faults: whether to continue after faulty lists.
        junk: paths that were passed over.
    """

    root: Path
    annotations: str
    images: str
    lists: str
    faults: Faults
    junk: list[str] = field(default_factory=list)

    def entries(self, splits: Mapping[Split, Sequence[str]]) -> list[Entry]:
        """All images of all splits in ascending image_id, each once a split.

        Two files of one name, such as a.png and a.jpeg, are two entries of one id.

        Raises:
            InputError: the list or folder of a split is missing or malformed.
        """
        listed: dict[Entry, None] = {}
        for split, names in splits.items():
            for name in names:
                with self.faults.going_on():
                    listed.update((entry, None) for entry in self._of(name, split))
        return sorted(listed, key=lambda entry: entry.image_id)

    def _of(self, split_name: str, split: Split) -> Iterator[Entry]:
        is_folder = split_name.endswith("/")
        parts = [part for part in split_name.split("/") if part != "."] if is_folder else split_name.split("/")
        *trees, name = parts
        if not all(map(is_plain, trees if is_folder else parts)):
            raise InputError(
                f"dataset.voc.{split}: {split_name!r} names no split in {self.root}; write e.g. VOC2007/trainval"
            )
        tree = _Tree(self.root, "/".join(trees), self.annotations, self.images)
        if is_folder:
            yield from self._of_folder(tree, split, split_name)
        else:
            yield from self._of_list(tree, split, name)

    def _of_list(self, tree: _Tree, split: Split, name: str) -> Iterator[Entry]:
        place = _folder(self.lists, tree.name, "dataset.voc.lists")
        folder = self.root / place
        path = folder / f"{name}.txt"
        if not os.path.isdir(folder):
            raise InputError(
                f"{folder}: no such folder, so this is not a VOC tree; give dataset.root=PATH to frcnn preset, "
                f"a folder with {LAYOUT}, {REMEDY}"
            )
        if not is_file(path):
            there = ", ".join(sorted(file.stem for file in folder.glob("*.txt"))[:8]) or "none"
            raise InputError(
                f"{path}: no such split file; set dataset.voc.{split} to splits that are there ({there}), {REMEDY}"
            )
        files = tree.images_by_name()

        def is_there(image: str) -> bool:
            return os.path.isfile(self.root / tree.annotation(image)) or image in files

        images = tree.images.rstrip("/").rpartition("/")[2]
        listed = read_image_list(path, is_there, self.faults, with_flags=True, folder=images)
        self.junk += (tree.images + f"{image}.jpg" for image in listed.junk)
        forms = by_form(files)
        for image in listed.names:
            file, annotation = in_other_form(image, files, forms), tree.annotation(image)
            for entry in tree.entries(image, split, files.get(file), annotation, place.rstrip("/") or "its list"):
                ways = ["its folder"] * bool(listed.folders)
                ways += [OTHER_FORM] * (file != image or annotation[:-4] != tree.annotations + image)
                yield entry.written(listed.folders + image, ways)

    def _of_folder(self, tree: _Tree, split: Split, split_name: str) -> Iterator[Entry]:
        place = self.root / tree.annotations
        if not os.path.isdir(place):
            raise InputError(
                f"{place}: no such folder; set dataset.voc.annotations to the folder of the XML files, . where they "
                f"lie in the folders that dataset.voc.{split} names"
            )
        names = names_in(place)
        self.junk += (tree.annotations + name for name in names if is_junk(name))
        files = tree.images_by_name()
        annotations = {
            name[:-4]: tree.annotations + name for name in names if name.lower().endswith(".xml") and not is_junk(name)
        }
        if not annotations:
            raise InputError(f"{place}: holds no XML file; correct dataset.voc.{split} or dataset.voc.annotations")
        forms = by_form(files)
        of_annotation = {image: in_other_form(image, files, forms) for image in annotations}
        for image in sorted({*annotations, *files} - ({*of_annotation.values()} - {*annotations})):
            file, annotation = of_annotation.get(image, image), annotations.get(image) or tree.annotation(image)
            if is_plain(image, ".xml"):
                for entry in tree.entries(image, split, files.get(file), annotation, split_name):
                    yield entry.written(image, [OTHER_FORM] * (file != image))
                continue
            with self.faults.going_on():
                what = "a control character, a line break or a backslash in its name"
                raise InputError(f"{place}: {image[:60]!r} has {what}; rename it")


class _Tree:
    """A sub-tree of the root, "" for the root itself, and where its XML files and images lie: "" or a path and "/"."""

    def __init__(self, root: Path, name: str, annotations: str, images: str) -> None:
        self.name = name
        self.annotations = _folder(annotations, name, "dataset.voc.annotations")
        self.images = _folder(images, name, "dataset.voc.images")
        self._root = root
        self._annotations: set[str] | None = None  # names in the folder
        self._forms: dict[str, str] = {}  # `by_form` of them
        self._capitals: dict[str, str] = {}  # a name with the suffix .xml -> the one that is there, such as a.XML

    def annotation(self, image: str) -> str:
        """Path below the root of an image's XML file, by its name; accents may be in another form, and the suffix in
        capitals."""
        if self._annotations is None:
            place = self._root / self.annotations
            self._annotations = set(names_in(place)) if os.path.isdir(place) else set()
            self._forms = by_form(self._annotations)
            others = (name for name in self._annotations if name.lower().endswith(".xml") and name[-4:] != ".xml")
            self._capitals = {f"{name[:-4]}.xml": name for name in sorted(others)}
        name = f"{image}.xml"
        if name in self._annotations:
            return self.annotations + name
        name = in_other_form(name, self._annotations, self._forms)
        return self.annotations + self._capitals.get(name, name)

    def images_by_name(self) -> dict[str, list[str]]:
        """Paths below the root of the images, by their names without suffix.

        Where a .jpg is among several of a name it alone counts, as VOC's own images are.
        """
        place = self._root / self.images
        files: dict[str, list[str]] = {}
        for name in sorted(without_twins(filter(is_image_name, names_in(place)))) if os.path.isdir(place) else ():
            if not is_junk(name):
                files.setdefault(name.rpartition(".")[0], []).append(self.images + name)
        for stem, paths in files.items():
            if len(paths) > 1 and f"{self.images}{stem}.jpg" in paths:
                files[stem] = [f"{self.images}{stem}.jpg"]
        return files

    def entries(
        self, image: str, split: Split, files: Sequence[str] | None, annotation: str, listed_in: str
    ) -> Iterator[Entry]:
        """One a file of the image's name; one of NAME.jpg where there is none."""
        image_id = f"{self.name.replace('/', '_')}_{image}" if self.name else image
        for file in files or [f"{self.images}{image}.jpg"]:
            yield Entry(image_id, file, annotation, split, listed_in)


@cache
def _folder(pattern: str, tree: str, key: str) -> str:
    path = pattern.replace("{folder}", tree) if "{folder}" in pattern else f"{tree}/{pattern}"
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not all(map(is_plain, parts)) or pattern.startswith("/") or not pattern:
        raise InputError(f"{key}: {pattern[:60]!r} is not a folder below the data root; write e.g. Annotations")
    return "".join(f"{part}/" for part in parts)

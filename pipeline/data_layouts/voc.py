"""VOC: lists in ImageSets/Main, folders of XML files a split, or folders of all."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pipeline.data_layouts.folders import called, files_in, folders_below, folders_in, has_image
from pipeline.data_layouts.layout import Layout, Miss, by_split, left_out
from pipeline.data_layouts.tree_copies import TreeFiles, copies_among, is_in, overlapping, tree_files
from pipeline.datasets.base import Split
from pipeline.datasets.class_names import BACKGROUND
from pipeline.datasets.records import read_text
from pipeline.datasets.split_names import split_in
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text

_ANNOTATIONS = ("annotations", "annots", "annotation", "xmls", "xml", "labels", "label")
_IMAGES = ("jpegimages", "images", "imgs", "image", "img", "photos")
_START = 4096  # bytes of an XML file that are looked at
_TRIED = 20  # lines of a list
_XML_TRIED = 5  # files of a folder
_TRAINED: tuple[Split, ...] = ("train", "val")


def voc_layouts(root: Path, given: Mapping[str, Any] = MappingProxyType({})) -> Iterator[Layout | Miss]:
    """VOC's layouts that the root may have, the likelier first; why there is none where images are missing.

    Args:
        root: the data root.
        given: settings of `dataset.voc` that the user gives.
    """
    settings = {"classes": classes} if (classes := _labelmap(root)) else {}
    for layout in itertools.chain(
        _by_lists(root), _by_folders(root), _whole(root), _by_trees(root, bool(given.get("train")))
    ):
        if isinstance(layout, Layout):
            yield replace(layout, settings={**layout.settings, **settings})
        else:
            yield layout
    if (why := _without_images(root)) is not None:
        yield Miss("voc", why)


class _Lists(NamedTuple):
    """The lists in a folder of a tree: their names by lower case, and those of splits."""

    settings: dict[str, str]
    all: dict[str, str]
    of_split: dict[Split, str]


def _lists_of(root: Path) -> Iterator[_Lists]:
    """The lists of a tree with XML files and images, from each folder that may have some."""
    annotations, images = called(root, _ANNOTATIONS), called(root, _IMAGES)
    if not annotations or not images:
        return
    sets = called(root, ("imagesets",)) or "ImageSets"
    main = called(root / sets, ("main",)) or "Main"
    for folder in (f"{sets}/{main}", sets, "."):
        lists = {name[:-4].lower(): name[:-4] for name in files_in(root / folder, ".txt")}
        own: dict[Split, str] = {}
        for name in lists:  # aeroplane_train, of one class, is none of them
            split = split_in(name)
            if split and name.removesuffix("_list").isalpha():  # train_list is Paddle's
                own.setdefault(split, lists[name])
        yield _Lists({"annotations": annotations, "images": images, "lists": folder}, lists, own)


def _by_lists(root: Path) -> Iterator[Layout]:
    """Lists of images: trainval and test as in the paper, or else train, val and test."""
    beside = ""
    if any(own.of_split for own in _lists_of(root)):
        beside = _not_read(_others_below(root))
    for settings, lists, own in _lists_of(root):
        folder = settings["lists"]
        what = "VOC with lists in " + ("the data root" if folder == "." else folder) + beside
        if "trainval" in lists and "test" in own:
            yield Layout("voc", what, {"train": [lists["trainval"]], "test": [own["test"]]}, settings)
        if "train" in own:
            own["train"] = lists.get("train", own["train"])
            yield Layout("voc", what, {split: [name] for split, name in own.items()}, settings)
        elif len(lists) == 1 and folder != ".":
            yield Layout("voc", what, {"train": list(lists.values())}, settings)


def _trees_below(root: Path) -> dict[str, _Lists | None]:
    """Trees with XML files and images below the root, by their paths; None for one without lists."""
    trees: dict[str, _Lists | None] = {}
    for place in itertools.islice(folders_below(root), 1, None):
        lists = next((lists for lists in _lists_of(place) if lists.of_split), None)
        if lists or ((own := called(place, _ANNOTATIONS)) and called(place, _IMAGES) and _has_voc(place / own)):
            trees[place.relative_to(root).as_posix()] = lists
    return trees


def _files_of(tree: Path, settings: Mapping[str, str]) -> TreeFiles:
    return tree_files(tree, settings["images"], (settings["annotations"], settings["lists"]))


def _others_below(root: Path) -> dict[str, str]:
    """Trees with lists below a root that is one itself, and why they are not read; or are copies of it."""
    below = {name: own for name, own in _trees_below(root).items() if own is not None}
    if not below:
        return {}
    whole = _files_of(root, next(own for own in _lists_of(root) if own.of_split).settings)
    is_copy = {name: is_in(_files_of(root / name, own.settings), whole) for name, own in below.items()}
    return {name: "a copy" if is_copy[name] else "a tree of its own" for name in below}


def _not_read(reasons: Mapping[str, str]) -> str:
    """A clause for each tree that is left out, to put behind what is read."""
    return "".join(f"; {name} is left out ({why})" for name, why in reasons.items())


def _by_trees(root: Path, is_chosen: bool) -> Iterator[Layout | Miss]:
    """Trees with lists below the root, such as VOC2007 and VOC2012 of a VOCdevkit, of one form.

    Where one has a test list with annotations, the others are trained on; VOC2012's test list has none. Trees with
    most images in common are refused, unless the user has chosen the lists to train on.
    """
    below = _trees_below(root)
    listed = {name: own for name, own in below.items() if own is not None}
    first = next((own for own in listed.values() if "train" in own.of_split), None)
    if first is None:
        return
    trees = {name: own for name, own in listed.items() if own.settings == first.settings}
    left_out = {name: "no lists" for name, own in below.items() if own is None}
    left_out |= {name: _other_form(own, first) for name, own in listed.items() if name not in trees}
    if len(trees) > 1:
        files = {name: _files_of(root / name, own.settings) for name, own in trees.items()}
        copies = copies_among(files)
        left_out |= {name: f"a copy of {original}" for name, original in copies.items()}
        trees = {name: own for name, own in trees.items() if name not in copies}
        twice = None if is_chosen else overlapping({name: files[name] for name in trees})
        if twice is not None:
            one, other, images = twice
            yield Miss(
                "voc",
                f"{one} and {other} have {count_text(images, 'image')} of the same names and bytes; move one tree out "
                "of the data root, or name the lists to read in dataset.voc.train and dataset.voc.test",
            )
            return
    tested = [name for name, own in trees.items() if "test" in own.of_split and _has_annotations(root / name, own)]
    without = [
        f"{name}/{own.of_split['test']}" for name, own in trees.items() if "test" in own.of_split and name not in tested
    ]
    splits: dict[Split, list[str]] = {}
    for name, own in trees.items():
        taken = {split: own.of_split[split] for split in _TRAINED if split in own.of_split}
        if tested and "trainval" in own.all:
            taken = {"train": own.all["trainval"]}
        elif "train" in own.all:
            taken["train"] = own.all["train"]
        if name in tested:
            taken["test"] = own.of_split["test"]
        for split, value in taken.items():
            splits.setdefault(split, []).append(f"{name}/{value}")
    what = f"VOC with lists in {' and '.join(trees)}"
    what += f"; {' and '.join(without)} has no annotations and is left out" if without else ""
    what += _not_read(left_out)
    yield Layout("voc", what, splits, next(iter(trees.values())).settings, is_below=True)


def _other_form(own: _Lists, first: _Lists) -> str:
    """In which folders a tree has its parts where the trees that are read have others, and what to do."""
    pairs = [
        (own.settings[key], first.settings[key]) for key in own.settings if own.settings[key] != first.settings[key]
    ]
    return "; ".join(f"it has {theirs} in place of {ours}, rename that" for theirs, ours in pairs)


def _has_annotations(tree: Path, own: _Lists) -> bool:
    """Whether an image that the tree's test list names has an XML file."""
    try:
        lines = read_text(tree / own.settings["lists"] / f"{own.of_split['test']}.txt", "").split("\n")
    except InputError:
        return False
    stems = (line.split()[0].removesuffix(".jpg") for line in lines[:_TRIED] if line.strip())
    return any(os.path.isfile(tree / own.settings["annotations"] / f"{stem}.xml") for stem in stems)


def _by_folders(root: Path) -> Iterator[Layout]:
    """A folder a split, with XML files and images in it or in folders of their own; or both of these with folders."""
    annotations, images = called(root, _ANNOTATIONS), called(root, _IMAGES)
    for above in ("", f"{images}/") if images else ("",):
        there = folders_in(root / above)
        folders = by_split(there)
        others = [above + name for name in there if not any(name in own for own in folders.values())]
        folders = {split: [above + name for name in names] for split, names in folders.items()}
        inner = _inside(root / folders["train"][0]) if "train" in folders else None
        for xml, photos in ((".", "."), *([inner] if inner else [])):
            splits = _with_xml(root, folders, "{folder}/" + xml)
            if splits:
                settings = {"annotations": xml, "images": photos}
                beside = left_out([name for name in others if _has_voc(root / name / xml)])
                yield Layout("voc", f"VOC with a folder a split{beside}", splits, settings)
    if annotations and images:
        pattern = f"{annotations}/{{folder}}"
        there = folders_in(root / annotations)
        splits = _with_xml(root, by_split(there), pattern)
        if splits:
            taken = {name for own in splits.values() for name in own}
            others = [f"{annotations}/{name}" for name in there if f"{name}/" not in taken]
            beside = left_out([name for name in others if _has_voc(root / name)])
            settings = {"annotations": pattern, "images": f"{images}/{{folder}}"}
            yield Layout("voc", f"VOC with a folder a split in {annotations}{beside}", splits, settings)


def _inside(folder: Path) -> tuple[str, str] | None:
    annotations, images = called(folder, _ANNOTATIONS), called(folder, _IMAGES)
    return (annotations, images) if annotations and images else None


def _with_xml(root: Path, folders: dict[Split, list[str]], pattern: str) -> dict[Split, list[str]]:
    """The folders in which there are XML files, as a reader's splits; none where train has none."""
    found: dict[Split, list[str]] = {}
    for split, names in folders.items():
        own = [f"{name}/" for name in names if _has_voc(root / pattern.format(folder=name))]
        if own:
            found[split] = own
    return found if "train" in found else {}


def _whole(root: Path) -> Iterator[Layout]:
    """All in one folder or in two, or in folders of other names, without lists."""
    what = "VOC without lists of splits"
    images = called(root, _IMAGES)
    if _has_voc(root):
        for photos in (".", *([images] if images else [])):
            yield Layout("voc", what, {"train": ["./"]}, {"annotations": ".", "images": photos})
    annotations = called(root, _ANNOTATIONS)
    if annotations and _has_voc(root / annotations):
        for photos in (*([images] if images else []), annotations, "."):
            yield Layout("voc", what, {"train": ["./"]}, {"annotations": annotations, "images": photos})
    folders = [f"{name}/" for name in folders_in(root) if _has_voc(root / name)]
    if folders:
        yield Layout("voc", "VOC in folders without splits", {"train": folders}, {"annotations": ".", "images": "."})


def _without_images(root: Path) -> str | None:
    """Why a root with a folder of annotations has no images, None where it has some, or no such folder."""
    annotations = called(root, _ANNOTATIONS)
    if annotations is None or called(root, _IMAGES) or not _has_voc(root / annotations) or has_image(root, deep=True):
        return None
    files = [name for name in files_in(root, "") if name.lower() in _IMAGES]  # as a link becomes in a copy
    what = f"{files[0]} is a file, not the folder of" if files else "no folder holds"
    return f"{annotations} holds annotations, but {what} their images; put them into JPEGImages"


def _has_voc(folder: Path) -> bool:
    """Whether one of the first XML files of a folder is an annotation of VOC's."""
    for name in files_in(folder, ".xml")[:_XML_TRIED]:
        try:
            with (folder / name).open("rb") as file:
                start = file.read(_START).lower()  # capitals are for the reader to refuse
        except OSError:
            continue
        if b"<annotation>" in start or b"<annotation " in start or b"\0" in start:  # UTF-16 is not looked into
            return True
    return False


def _labelmap(root: Path) -> Sequence[str]:
    """The classes of CVAT's labelmap.txt, lines of `name:colour:parts:actions`; none where there is no such file."""
    try:
        lines = read_text(root / "labelmap.txt", "").splitlines()
    except InputError:
        return []
    names = [line.split(":")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    return [name for name in names if name and name.casefold() != BACKGROUND]

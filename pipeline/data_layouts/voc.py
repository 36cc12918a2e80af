"""VOC: lists in ImageSets/Main, folders of XML files a split, or folders of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.data_layouts.folders import called, files_in, folders_in
from pipeline.data_layouts.layout import Layout, by_split
from pipeline.datasets.base import Split
from pipeline.datasets.class_names import BACKGROUND
from pipeline.datasets.split_names import split_in

_ANNOTATIONS = ("annotations", "annots", "annotation", "xmls", "xml", "labels", "label")
_IMAGES = ("jpegimages", "images", "imgs", "image", "img", "photos")
_START = 4096  # bytes of an XML file that are looked at


def voc_layouts(root: Path) -> Iterator[Layout]:
    """VOC's layouts that the root may have, the likelier first."""
    settings = {"classes": classes} if (classes := _labelmap(root)) else {}
    for layout in (*_by_lists(root), *_by_folders(root), *_whole(root)):
        yield Layout("voc", layout.what, layout.splits, {**layout.settings, **settings})


def _by_lists(root: Path) -> Iterator[Layout]:
    """Lists of images: trainval and test as in the paper, or else train, val and test."""
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
            if split and name.isalpha():
                own.setdefault(split, lists[name])
        settings = {"annotations": annotations, "images": images, "lists": folder}
        what = "VOC with lists in " + ("the data root" if folder == "." else folder)
        if "trainval" in lists and "test" in own:
            yield Layout("voc", what, {"train": [lists["trainval"]], "test": [own["test"]]}, settings)
        if "train" in own:
            own["train"] = lists.get("train", own["train"])
            yield Layout("voc", what, {split: [name] for split, name in own.items()}, settings)
        elif len(lists) == 1 and folder != ".":
            yield Layout("voc", what, {"train": list(lists.values())}, settings)


def _by_folders(root: Path) -> Iterator[Layout]:
    """A folder a split, with XML files and images in it or in folders of their own; or both of these with folders."""
    annotations, images = called(root, _ANNOTATIONS), called(root, _IMAGES)
    for above in ("", f"{images}/") if images else ("",):
        folders = by_split(folders_in(root / above))
        folders = {split: [above + name for name in names] for split, names in folders.items()}
        inner = _inside(root / folders["train"][0]) if "train" in folders else None
        for xml, photos in ((".", "."), *([inner] if inner else [])):
            splits = _with_xml(root, folders, "{folder}/" + xml)
            if splits:
                settings = {"annotations": xml, "images": photos}
                yield Layout("voc", "VOC with a folder a split", splits, settings)
    if annotations and images:
        pattern = f"{annotations}/{{folder}}"
        splits = _with_xml(root, by_split(folders_in(root / annotations)), pattern)
        if splits:
            settings = {"annotations": pattern, "images": f"{images}/{{folder}}"}
            yield Layout("voc", f"VOC with a folder a split in {annotations}", splits, settings)


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


def _has_voc(folder: Path) -> bool:
    """Whether the first XML file of a folder is an annotation of VOC's."""
    for name in files_in(folder, ".xml")[:1]:
        try:
            with (folder / name).open("rb") as file:
                start = file.read(_START)
        except OSError:
            return False
        return b"<annotation>" in start or b"<annotation " in start or b"\0" in start  # UTF-16 is not looked into
    return False


def _labelmap(root: Path) -> Sequence[str]:
    """The classes of CVAT's labelmap.txt, a line `name:colour:parts:actions` each; none where there is no such file."""
    try:
        lines = (root / "labelmap.txt").read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    names = [line.split(":")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    return [name for name in names if name and name.casefold() != BACKGROUND]

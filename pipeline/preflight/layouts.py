"""Which reader a folder is made for: guessed by the names in it, and offered where that reader finds a labelled image.

A guess is a reader, a folder and the settings by which the reader finds its lists; it is tried before it is reported,
so that nobody is sent to a folder that holds no data set.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from pipeline.datasets.faults import Faults
from pipeline.datasets.reading import read_raw
from pipeline.families.registry import DEFAULT
from pipeline.params.dataset import DatasetParams
from pipeline.presets.apply import preset_names, preset_params
from pipeline.presets.settings import as_yaml

READERS = tuple(name for name in get_args(DatasetParams.model_fields["reader"].annotation) if name != "shapes")
# Presets whose reader is this one, to start from, the smaller first; of a family with none of them, all of its own.
_PRESETS = {"voc": ("bccd_tiny", "voc6_vgg16", "voc07_vgg16"), "coco": ("tinycoco",), "kitti": ("kitti_tiny_vgg16",)}
_MOST_FOLDERS = 300  # looked into
_DEPTH = 2  # folders below the given one
_TRAIN, _HELD_OUT = ("trainval", "train"), ("test", "val", "valid", "validation")  # names of splits, the first wins


@dataclass(frozen=True)
class Guess:
    """A reader for a folder, and the settings of its block, without those that are the defaults."""

    reader: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)

    def params(self, defaults: DatasetParams) -> DatasetParams:
        """Section `dataset` as the guess has it."""
        own = getattr(defaults, self.reader).model_copy(update=dict(self.settings))
        return defaults.model_copy(update={"reader": self.reader, self.reader: own})

    def command(self, preset: str) -> str:
        """A command that sets a project to it, from a preset on."""
        words = [f"dataset.reader={self.reader}", f"dataset.root={self.folder}"]
        words += [f"dataset.{self.reader}.{key}={as_yaml(value)}" for key, value in self.settings.items()]
        return f"frcnn preset {preset} {shlex.join(words)}"


def layout_hint(root: Path, tried: DatasetParams | None = None, family: str = DEFAULT) -> str:
    """What the folder, or one in it, holds, and how to check it so; empty where no reader finds a labelled image.

    Args:
        root: the folder.
        tried: with what it has been read already.
        family: whose presets to offer.
    """
    presets = preset_names(family)
    base = _base_of(presets)
    defaults = preset_params(base if presets else "default").dataset
    for folder in _folders(root):
        for guess in _guesses(folder):
            if folder == root and tried is not None and _reads_alike(guess.params(defaults), tried):
                continue
            if finds_a_label(folder, guess.params(defaults)):
                return f"{folder} looks made for reader {guess.reader}: {_how_to(guess, presets)}"
    return _flat_voc(root)


def _base_of(presets: Sequence[str]) -> str:
    """The preset of a family to change a few settings of: default, or else the first; a word for one where none is."""
    return "default" if "default" in presets else presets[0] if presets else "PRESET"


def choose_reader(root: Path, family: str = DEFAULT) -> str:
    """How to choose a reader for the folder, in one line, with the presets of a family."""
    base = _base_of(preset_names(family))
    general = f"frcnn preset {base} dataset.reader=READER dataset.root=PATH, READER one of {', '.join(READERS)}"
    return layout_hint(root, family=family) or general


def _reads_alike(one: DatasetParams, other: DatasetParams) -> bool:
    return one.reader == other.reader and getattr(one, one.reader) == getattr(other, other.reader)


def finds_a_label(root: Path, params: DatasetParams) -> bool:
    """Whether the reader finds an image of train or test that is there and has a label."""
    own = getattr(params, params.reader)
    if hasattr(own, "classes"):  # to be spared the collecting of their names
        params = params.model_copy(update={params.reader: own.model_copy(update={"classes": ["object"]})})
    faults = Faults(keep=True)
    with faults.going_on():
        for record in read_raw(root, params, faults).records:
            if len(record.names) and os.path.isfile(root / record.file):
                return True
    return False


def _how_to(guess: Guess, presets: Sequence[str]) -> str:
    liked = [name for name in _PRESETS.get(guess.reader, ()) if name in presets]
    tried = liked or [name for name in presets if preset_params(name).dataset.reader == guess.reader]
    fitting = [name for name in tried if finds_a_label(guess.folder, preset_params(name).dataset)]
    folder = shlex.quote(str(guess.folder))
    also = f"; or frcnn check-data {folder} --preset {' or '.join(fitting)}" if fitting else ""
    return f"{guess.command(_base_of(presets))}, then frcnn check-data{also}"


def _folders(root: Path) -> Iterator[Path]:
    """The folder and those below it, the nearer ones first; hidden and linked ones are left out."""
    level, left = [root] if os.path.isdir(root) else [], _MOST_FOLDERS
    for _ in range(_DEPTH + 1):
        yield from level
        left -= len(level)
        level = list(itertools.islice((folder for above in level for folder in _folders_in(above)), left))


def _folders_in(folder: Path) -> list[Path]:
    try:
        inside = [path for path in folder.iterdir() if path.name[0] != "." and path.is_dir() and not path.is_symlink()]
    except OSError:
        return []
    return sorted(inside)


def _guesses(folder: Path) -> Iterator[Guess]:
    """Readers whose layout the folder has by the names in it, with settings to try, the likelier first."""
    with_defaults = []
    if os.path.isdir(folder / "Annotations") and os.path.isdir(folder / "JPEGImages"):
        with_defaults.append("voc")
    if any(folder.glob("label_2")) or any(folder.glob("*/label_2")):
        with_defaults.append("kitti")
    if any(folder.glob("annotations/*.json")) or any(folder.glob("*.json")):
        with_defaults.append("coco")
    if any(folder.glob("data.y*ml")) or (os.path.isdir(folder / "images") and os.path.isdir(folder / "labels")):
        with_defaults.append("yolo")
    if any(folder.glob("*.csv")) or any(folder.glob("*.parquet")):
        with_defaults.append("table")
    for reader in with_defaults:
        yield Guess(reader, folder)
        for settings in _OTHERS[reader](folder):
            yield Guess(reader, folder, settings)


def _voc(folder: Path) -> Iterator[dict[str, Any]]:
    yield _of_splits({path.stem: path.stem for path in folder.glob("ImageSets/Main/*.txt")})


def _kitti(folder: Path) -> Iterator[dict[str, Any]]:
    lists = {path.stem: path.stem for path in [*folder.glob("*.txt"), *folder.glob("ImageSets/*.txt")]}
    for place in [path.parent.name for path in folder.glob("*/label_2")]:
        yield {"folder": place, **_of_splits(lists)}


def _coco(folder: Path) -> Iterator[dict[str, Any]]:
    files = sorted([*folder.glob("annotations/*.json"), *folder.glob("*.json")])
    named = {split: str(path.relative_to(folder)) for path in files for split in [_split_in(path.stem)] if split}
    for images in ("{name}", "images", "{folder}", "images/{name}"):
        if named:
            yield {**_of_splits(named), "images": images}


def _yolo(folder: Path) -> Iterator[dict[str, Any]]:
    names = sorted(path.name for path in [*folder.glob("data.y*ml"), *folder.glob("*.names"), *folder.glob("*.y*ml")])
    for pattern in ("images/*", "*/images"):
        places = {}
        for path in folder.glob(pattern):
            split = _split_in(path.name if pattern == "images/*" else path.parent.name)
            if os.path.isdir(path) and split:
                places[split] = str(path.relative_to(folder))
        for name in dict.fromkeys(names):
            if places:
                yield {**_of_splits(places), "names": name}


def _table(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*.parquet")])[:_MOST_FOLDERS]:
        for held_out in _HELD_OUT:
            yield {"file": path.name, "train": ["train"], "test": [held_out]}


_OTHERS = {"voc": _voc, "kitti": _kitti, "coco": _coco, "yolo": _yolo, "table": _table}


def _split_in(name: str) -> str | None:
    """The split that a name stands for, such as that of instances_train2017."""
    return next((split for split in (*_TRAIN, *_HELD_OUT) if split in name.lower()), None)


def _of_splits(named: Mapping[str, str]) -> dict[str, Any]:
    """Settings of train and test from what is there under names of splits."""
    settings: dict[str, Any] = {}
    for split, names in (("train", _TRAIN), ("test", _HELD_OUT)):
        there = [named[name] for name in names if name in named]
        if there:
            settings[split] = there[:1]
    return settings


def _flat_voc(root: Path) -> str:
    """What to do about XML files beside their images, as annotation tools export VOC."""
    for folder in _folders(root):
        for path in folder.glob("*.xml"):
            if any(os.path.isfile(path.with_suffix(suffix)) for suffix in (".jpg", ".jpeg", ".png", ".JPG")):
                return (
                    f"{folder} holds XML files beside their images; docs/data.md (XML beside the images) shows how to "
                    "lay them out for reader voc"
                )
    return ""


def guess_reader(root: Path) -> str | None:
    """The reader whose layout the folder itself has by the names in it; None where it has none that is known."""
    return next((guess.reader for guess in _guesses(root)), None)

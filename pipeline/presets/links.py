"""The inputs that `frcnn preset` links into data/: a data root, weights, a detector, proposals."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.datasets.file_names import printable
from pipeline.datasets.root_check import check_tree
from pipeline.runtime.errors import InputError

LINKED = {
    "dataset.root": "data/raw",
    "backbone.weights": "data/weights",
    "init.detector": "data/initial_detector",
    "proposals.file": "data/external_proposals",
}
"""What a user links with `key=PATH`, to the folder that stages read it from. A family without the key's section, or
without the parameter that it sets, has no use for it."""

# Parameters that such a key sets, and the values that are not paths.
_SETS = {
    "backbone.weights": ("backbone.weights", ("file", "torchvision", "pretrain", "random")),
    "init.detector": ("init.detector", ("file", "none")),
    "proposals.file": ("proposals.source", ()),
}
# As pipeline.building.initial_detector and pipeline.artifacts.weights call them; torch is not loaded here.
BUNDLE_SETTINGS, MODEL_FILE = "bundle.json", "model.safetensors"
_WANTED = {
    "dataset.root": "folder; give the folder that holds the data set",
    "backbone.weights": "file; give a weights file, or torchvision to download it",
    "init.detector": (
        "file; give a bundle, the model.safetensors of a stage that trained a whole detector, or a state dict of "
        "torchvision's fasterrcnn_resnet50_fpn"
    ),
    "proposals.file": "file; give a proposal file of detectron2 or mmdetection",
}


def links_of(params: Mapping[str, Any]) -> list[str]:
    """The keys that a params.yaml has a use for, as its family has what they set."""
    return [key for key in LINKED if _has(params, parameter_set_by(key) or key.partition(".")[0])]


def _has(params: Mapping[str, Any], name: str) -> bool:
    """Whether there is a section, or a parameter of one; sections are as in the file or checked."""
    section, _, key = name.partition(".")
    own = params.get(section)
    return section in params and (not key or (key in own if isinstance(own, Mapping) else hasattr(own, key)))


def is_link(key: str, value: str) -> bool:
    """Whether an override `key=value` links a path."""
    return key in LINKED and value not in _SETS.get(key, ("", ()))[1]


def parameter_set_by(key: str) -> str | None:
    """The parameter that becomes `file` where a path is linked by a key; None for the data root."""
    return _SETS[key][0] if key in _SETS else None


def existing(root: Path, key: str, value: str) -> Path:
    """The real path that an override links.

    Raises:
        InputError: there is none, or DVC would not store it.
    """
    path = Path(os.path.realpath(root / os.path.expanduser(value)))
    if key == "init.detector" and os.path.isdir(path):
        path /= MODEL_FILE
    if not (os.path.isdir(path) if key == "dataset.root" else os.path.isfile(path)):
        raise InputError(f"{key}={value}: no such {_WANTED[key]}")
    if key == "dataset.root":
        _check_data_root(root, value, path)
    elif printable(path.name) != path.name:
        raise InputError(f"{key}={printable(value)}: DVC stops at a name that is not UTF-8 text; rename the file")
    return path


def check_place(root: Path, key: str) -> None:
    """Whether a key's place is one for links.

    Raises:
        InputError: it holds files of the user's own.
    """
    place = root / LINKED[key]
    if place.is_dir() and not place.is_symlink() and any(not path.is_symlink() for path in place.iterdir()):
        raise InputError(f"{place}: holds files of its own; move them elsewhere, it is a place for links")


def link(root: Path, key: str, target: Path | None) -> str:
    """data/raw becomes a link to the data root, the others a folder with a link to the file; or empty folders."""
    place = root / LINKED[key]
    parent = os.path.realpath(place.parent)  # which may be a link; those in it are relative to where they lie
    os.makedirs(parent, exist_ok=True)
    check_place(root, key)
    if place.is_symlink():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    if target is not None and key == "dataset.root":
        place.symlink_to(os.path.relpath(target, parent), target_is_directory=True)
        return f"{LINKED[key]}: {printable(str(target))}"
    place.mkdir()
    if target is not None:
        for own in (target, *_beside(key, target)):
            (place / own.name).symlink_to(os.path.relpath(own, os.path.join(parent, place.name)))
        return f"{LINKED[key]}: {target}"
    return f"{LINKED[key]}: empty"


def _beside(key: str, target: Path) -> list[Path]:
    """What is linked with a file: a bundle's settings, which name its classes."""
    settings = target.with_name(BUNDLE_SETTINGS)
    return [settings] if key == "init.detector" and target.name == MODEL_FILE and settings.is_file() else []


def linked_file(place: Path) -> Path | None:
    """The file that is linked into a folder, not what is linked with it; None where there is none."""
    targets = [path.resolve() for path in place.iterdir() if path.is_file() and path.name != BUNDLE_SETTINGS]
    return targets[0] if targets else None


def what_is_needed(key: str, params: Mapping[str, Any]) -> str:
    """An addition to the line of a place that is empty although it is read; empty otherwise."""
    wanted = {
        "dataset.root": params["dataset"]["reader"] != "shapes",
        "backbone.weights": params["backbone"]["weights"] == "file" and params["init"]["detector"] == "none",
        "init.detector": params["init"]["detector"] == "file",
        "proposals.file": params.get("proposals", {}).get("source") == "file",
    }
    return f", and a run needs it: add {key}=PATH" if wanted[key] else ""


def _check_data_root(root: Path, value: str, path: Path) -> None:
    place = root / LINKED["dataset.root"]
    own = os.path.realpath(place.parent)
    if os.path.commonpath([own, path]) == str(path) or (path == Path(own, place.name) and not place.is_symlink()):
        raise InputError(f"dataset.root={value}: would be linked into itself; give the folder that holds the data set")
    check_tree(path)

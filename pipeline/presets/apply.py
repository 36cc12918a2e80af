"""Apply a preset to the committed params.yaml, comments kept, and link the data it needs."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.artifacts.atomic import write_text
from pipeline.datasets.file_names import printable
from pipeline.datasets.root_check import check_tree
from pipeline.params.dataset import DatasetParams
from pipeline.params.file import check_params, load_params
from pipeline.params.reading import Params
from pipeline.runtime.data_folder import check_data_folder
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import EditedYaml, YamlError, in_one_line, parse_yaml

_PRESETS = Path(__file__).parent
LINKED = {
    "dataset.root": "data/raw",
    "backbone.weights": "data/weights",
    "init.detector": "data/initial_detector",
    "proposals.file": "data/external_proposals",
}
"""What a user links with `key=PATH`, to the folder that stages read it from."""

# Parameters that such a key sets, and the values that are no path.
_SETS = {
    "backbone.weights": ("backbone.weights", ("file", "torchvision", "pretrain", "random")),
    "init.detector": ("init.detector", ("file", "none")),
    "proposals.file": ("proposals.source", ()),
}
_WANTED = {
    "dataset.root": "folder; give the folder that holds the data set",
    "backbone.weights": "file; give a weights file, or torchvision to download it",
    "init.detector": "file; give a bundle, or the model.safetensors of a finetune_joint stage",
    "proposals.file": "file; give a proposal file of detectron2 or mmdetection",
}


def preset_names() -> list[str]:
    """Every preset file; `default` is the whole params.yaml, the others are overlays."""
    return sorted(path.stem for path in _PRESETS.glob("*.yaml"))


def apply_preset(root: Path, name: str, overrides: Sequence[str]) -> list[str]:
    """Write `root`/params.yaml as defaults, preset, overrides, and link data, weights and proposals into data/.

    Nothing is kept of an earlier preset or of other edits. Nothing is written unless everything is valid.

    Returns:
        Lines on what was done.

    Raises:
        InputError: no such preset or parameter, an impossible value, a path that does not exist, a data root that DVC
            does not hash whole, or a data/ where it stores nothing.
    """
    check_data_folder(root / "data", root)
    edited = _with_preset(name)
    params = edited.content
    links: dict[str, Path] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"{override!r} is no override; write section.key=value")
        parameter, choices = _SETS.get(key, ("", ()))
        if key in LINKED and value not in choices:
            links[key] = _existing(root, key, value)
            if parameter:
                _set(params, parameter, "file")
        else:
            _set(params, key, _parse(override, value))
    text = edited.text()
    plain = parse_yaml(text, "params.yaml")
    check_params(plain, "params.yaml")
    untouched = name == "default" and not overrides
    write_text(root / "params.yaml", _text("default") if untouched else text)
    lines = [f"params.yaml: {name}" + (f" with {', '.join(overrides)}" if overrides else "")]
    return lines + [_link(root, key, links.get(key)) + _needed(key, links, plain) for key in LINKED]


def _needed(key: str, links: dict[str, Path], params: dict[str, Any]) -> str:
    """What to add to the line of a place that is empty and is read from all the same; empty where it is not."""
    wanted = {
        "dataset.root": params["dataset"]["reader"] != "shapes",
        "backbone.weights": params["backbone"]["weights"] == "file" and params["init"]["detector"] == "none",
        "init.detector": params["init"]["detector"] == "file",
        "proposals.file": params["proposals"]["source"] == "file",
    }
    return f", and a run needs it: add {key}=PATH" if wanted[key] and key not in links else ""


def dataset_params(root: Path, preset: str | None, overrides: Sequence[str]) -> DatasetParams:
    """Section `dataset` of `root`/params.yaml, or of the defaults where there is none or with a preset; nothing is
    written.

    Args:
        preset: to apply to the defaults. overrides: dataset.key=value, applied to either.

    Raises:
        InputError: no such preset or parameter, or an impossible value.
    """
    for override in overrides:
        if "=" not in override or not override.startswith("dataset."):
            raise InputError(f"--set {override}: write dataset.key=value; --data gives the data's place")
    own = root / "params.yaml"
    return chosen_params(root, preset if preset or own.is_file() else "default", overrides).dataset


def chosen_params(root: Path, preset: str | None, overrides: Sequence[str] = ()) -> Params:
    """The parameters of a preset, or of `root`/params.yaml, with overrides applied; nothing is written.

    Args:
        root: the project's folder.
        preset: to apply to the defaults; None: params.yaml as it is.
        overrides: section.key=value, applied to either.

    Raises:
        InputError: no such preset or parameter, no params.yaml, or an impossible value.
    """
    own = root / "params.yaml"
    if preset is None:
        params = load_params(own)  # names what is wrong with the file
        if not overrides:
            return params
        edited = EditedYaml(own.read_text(encoding="utf-8"), own)
    else:
        if not overrides:
            return preset_params(preset)
        edited = _with_preset(preset)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"--set {override}: write section.key=value")
        _set(edited.content, key, _parse(override, value))
    return Params(check_params(parse_yaml(edited.text(), "params.yaml"), f"preset {preset}" if preset else own))


@functools.cache
def preset_params(name: str) -> Params:
    """The parameters of a preset, as `apply_preset` without overrides would write them; nothing is written.

    Raises:
        InputError: no such preset.
    """
    return Params(check_params(parse_yaml(_with_preset(name).text(), name), f"preset {name}"))


def _with_preset(name: str) -> EditedYaml:
    """The defaults with the preset applied, comments kept."""
    if name not in preset_names():
        raise InputError(f"no preset {name!r}; there are {', '.join(preset_names())}")
    edited = EditedYaml(_text("default"), "preset default")
    if name != "default":
        _apply_overlay(edited.content, parse_yaml(_text(name), f"preset {name}"))
    return edited


def _text(name: str) -> str:
    return (_PRESETS / f"{name}.yaml").read_text(encoding="utf-8")


def _apply_overlay(params: dict[str, Any], overlay: Any) -> None:
    for section, values in overlay.items():
        for key, value in values.items():
            if isinstance(value, dict):
                for inner, leaf in value.items():
                    _set(params, f"{section}.{key}.{inner}", leaf)
            else:
                _set(params, f"{section}.{key}", value)


def _set(params: dict[str, Any], key: str, value: Any) -> None:
    node: Any = params
    *path, leaf = key.split(".")
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict) or leaf not in node or not path:
        raise InputError(f"unknown parameter {key}; docs/parameters.md lists them")
    node[leaf] = in_one_line(value)


def _parse(override: str, value: str) -> Any:
    try:
        return parse_yaml(value, override)
    except YamlError as error:
        raise InputError(f"{override!r}: the value is not valid YAML; quote it") from error


def _existing(root: Path, key: str, value: str) -> Path:
    path = Path(os.path.realpath(root / os.path.expanduser(value)))
    if key == "init.detector" and os.path.isdir(path):
        path /= "model.safetensors"
    if not (os.path.isdir(path) if key == "dataset.root" else os.path.isfile(path)):
        raise InputError(f"{key}={value}: no such {_WANTED[key]}")
    if key == "dataset.root":
        _check_data_root(root, value, path)
    elif printable(path.name) != path.name:
        raise InputError(f"{key}={printable(value)}: DVC stops at a name that is no UTF-8 text; rename the file")
    return path


def _check_data_root(root: Path, value: str, path: Path) -> None:
    place = root / LINKED["dataset.root"]
    own = os.path.realpath(place.parent)
    if os.path.commonpath([own, path]) == str(path) or (path == Path(own, place.name) and not place.is_symlink()):
        raise InputError(f"dataset.root={value}: would be linked into itself; give the folder that holds the data set")
    check_tree(path)


def _link(root: Path, key: str, target: Path | None) -> str:
    """data/raw becomes a link to the data root, the others a folder with a link to the file; or empty folders."""
    place = root / LINKED[key]
    parent = os.path.realpath(place.parent)  # which may be a link; those in it are relative to where they lie
    os.makedirs(parent, exist_ok=True)
    if place.is_symlink():
        place.unlink()
    elif place.is_dir():
        if any(not path.is_symlink() for path in place.iterdir()):
            raise InputError(f"{place}: holds files of its own; move them elsewhere, it is a place for links")
        shutil.rmtree(place)
    if target is not None and key == "dataset.root":
        place.symlink_to(os.path.relpath(target, parent), target_is_directory=True)
        return f"{LINKED[key]}: {printable(str(target))}"
    place.mkdir()
    if target is not None:
        (place / target.name).symlink_to(os.path.relpath(target, os.path.join(parent, place.name)))
        return f"{LINKED[key]}: {target}"
    return f"{LINKED[key]}: empty"

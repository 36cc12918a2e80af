"""The two files of a bundle: model.safetensors, the weights, and bundle.json, everything else needed to use them.

bundle.json holds a hash of the weights and one of its own content, so that a bundle is used as it was written or not
at all. Weights are safetensors and the rest is JSON: nothing in a bundle can run code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from pipeline.artifacts.weights import MODEL_FILE, State, restore, select_part
from pipeline.building.memory_format import channels_last
from pipeline.bundle.contract import BundleParams, Parts, family_bundle
from pipeline.families.registry import DEFAULT, family_names, family_of
from pipeline.params.section import Section
from pipeline.runtime.errors import InputError

BUNDLE_FILE = "bundle.json"
SCHEMA = "frcnn-bundle-2"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Triple = Annotated[list[float], Field(min_length=3, max_length=3)]

# Names no family: every network was Faster R-CNN's.
_FIRST_SCHEMA = "frcnn-bundle-1"


class PixelNormalisation(Section):
    """The normalisation of pixels: RGB in 0..1, minus the mean, divided by the standard deviation."""

    pixel_mean: Triple
    pixel_std: Triple


class BundleSettings(Section):
    """bundle.json.

    `format` is the schema's version. `network` is one of the networks of `family`. `classes` are the names of the
    labels, the background first. `params` are of the family's own class. `metrics` is the metrics.json of the network's
    evaluation, None where it has none of these weights and parameters. `dvc_lock_sha256` is None where the stages were
    run without DVC. `timm` is the version of timm whose model the trunk is; only such a bundle has the key.
    `settings_sha256` is of all other keys.
    """

    format: Literal["frcnn-bundle-1", "frcnn-bundle-2"]
    family: str
    network: str
    classes: Annotated[list[str], Field(min_length=2)]
    params: BundleParams
    normalisation: PixelNormalisation
    metrics: dict[str, Any] | None
    model_sha256: Sha256
    dvc_lock_sha256: Sha256 | None
    timm: Annotated[str, Field(max_length=100)] | None = None
    settings_sha256: Sha256


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read: its folder, its settings and its parts in evaluation mode on the CPU."""

    folder: Path
    settings: BundleSettings
    parts: Parts


def settings_text(content: Mapping[str, Any]) -> str:
    """bundle.json with these keys, and `settings_sha256` added."""
    return json.dumps({**content, "settings_sha256": _hash_of(content)}, indent=1, allow_nan=False) + "\n"


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds the files of a bundle and nothing else; they may be damaged."""
    return folder.is_dir() and {path.name for path in folder.iterdir()} == {BUNDLE_FILE, MODEL_FILE}


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle, both of its files verified.

    Raises:
        InputError: a file is missing, damaged, or not as `frcnn bundle` wrote it.
    """
    folder = Path(folder)
    settings = _read_settings(folder)
    path = folder / MODEL_FILE
    try:
        if file_sha256(path) != settings.model_sha256:
            raise InputError(
                f"{path}: is not the file that {BUNDLE_FILE} was written with (its SHA-256 differs); {_AGAIN}"
            )
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({_first_line(error)}); {_AGAIN}") from error
    try:
        parts = build_parts(settings.family, settings.params, len(settings.classes), tensors, path)
    except InputError as error:
        if settings.timm is None:
            raise
        raise InputError(f"{error}; {BUNDLE_FILE} was written with timm {settings.timm}") from error
    trunk = parts["trunk"].state_dict()
    for name in ("pixel_mean", "pixel_std"):
        if not torch.equal(trunk[name], torch.tensor(getattr(settings.normalisation, name))):
            raise InputError(f"{path}: its {name} is not that of {BUNDLE_FILE}; {_AGAIN}")
    return Bundle(folder, settings, parts)


def build_parts(family: str, params: BundleParams, num_classes: int, tensors: State, source: Path | str) -> Parts:
    """The parts of a network from a model.safetensors' tensors, in evaluation mode.

    Raises:
        InputError: a weight is missing, unknown or of another shape; `source` is named.
    """
    parts = family_bundle(family).new_parts(params, num_classes)
    for name, part in parts.items():
        restore(part, select_part(tensors, name), f"{source}, {name}")
    return {name: channels_last(part) for name, part in parts.items()}


_AGAIN = "write it again with frcnn bundle"


def _read_settings(folder: Path) -> BundleSettings:
    path = folder / BUNDLE_FILE
    if not folder.is_dir():
        raise InputError(f"{folder}: no such bundle; give a folder that frcnn bundle wrote")
    if not path.is_file():
        raise InputError(f"{folder}: is not a bundle, it holds no {BUNDLE_FILE}; give a folder that frcnn bundle wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({_first_line(error)}); {_AGAIN}") from error
    if not isinstance(content, dict) or content.get("format") not in (SCHEMA, _FIRST_SCHEMA):
        found = content.get("format") if isinstance(content, dict) else None
        raise InputError(f"{path}: format is {str(found)[:60]!r}, this code reads {SCHEMA!r}; {_AGAIN}")
    settings = _checked(content if content["format"] == SCHEMA else {**content, "family": DEFAULT}, path)
    if settings.settings_sha256 != _hash_of(content):
        raise InputError(f"{path}: was changed after it was written (its SHA-256 differs); {_AGAIN}")
    return settings


def _checked(content: Mapping[str, Any], path: Path) -> BundleSettings:
    family = content.get("family")
    if family not in family_names():
        raise InputError(
            f"{path}: family is {str(family)[:60]!r}, there are {', '.join(family_names())}; use the version of this "
            "project that has it"
        )
    place: tuple[str, ...] = ("params",)
    try:
        own = family_bundle(family).params.model_validate(content.get("params"), strict=True)
        place = ()
        settings = BundleSettings.model_validate({**content, "params": own}, strict=True)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, (*place, *fault["loc"])))
        raise InputError(f"{path}: {where[:100]}: {fault['msg']}; {_AGAIN}") from error
    bundled = family_of(family).bundled
    if settings.network not in bundled:
        raise InputError(f"{path}: network: is none of {', '.join(bundled)}; {_AGAIN}")
    return settings


def _hash_of(content: Mapping[str, Any]) -> str:
    others = {key: value for key, value in content.items() if key != "settings_sha256"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

"""Writes a bundle from a finished run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError

from pipeline.artifacts.absent import why_absent
from pipeline.artifacts.atomic import atomic_folder, write_text
from pipeline.artifacts.classes import detector_classes_file
from pipeline.artifacts.weights import MODEL_FILE, State, load_part, save_parts
from pipeline.building.timm_model import timm_version
from pipeline.bundle.contract import BundleParams, Computation, family_bundle
from pipeline.bundle.file import BUNDLE_FILE, SCHEMA, build_parts, file_sha256, is_bundle, settings_text
from pipeline.families.registry import present_family
from pipeline.geometry.trunk_settings import TIMM
from pipeline.params.file import load_params, sections_of
from pipeline.params.reading import Params
from pipeline.params.resize import ResizeParams
from pipeline.params.section import Section
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import YamlError, read_yaml

# Of every family; no weight's shape gives these away: with other values than in training the network would be silently
# wrong.
_TRAINED_WITH = {"backbone": ("name", "ceil_pool"), "resize": tuple(ResizeParams.model_fields)}

_DATA = "data/resize"
"""What the networks are trained on, with the names of the classes."""


def write_bundle(root: Path, network: str | None, out: Path) -> list[str]:
    """Write a trained network of the project in `root` to the folder `out`, which may be an earlier bundle.

    Args:
        root: folder of params.yaml, dvc.lock and data/.
        network: of the family of params.yaml, one of those that are one network; None for the one that is judged.
        out: folder to write; it appears whole or not at all.

    Returns:
        Lines on what was done.

    Raises:
        InputError: no such network or several side by side, stages that have not run or ran with other parameters than
            params.yaml has now, a folder that is not a bundle in the place of `out`, or one that cannot be written.
    """
    family = present_family(root)
    own = family_bundle(family.name)
    network = network or family.judged
    if network not in family.networks:
        raise InputError(f"--network {network}: no such network; there are {', '.join(family.bundled)}")
    trained_by = family.networks[network].parts
    if not trained_by:
        raise InputError(
            f"--network {network}: {family.networks[network].title} has several networks, not one; give --network "
            f"{' or '.join(family.bundled)}"
        )
    if out.exists() and not (is_bundle(out) or (out.is_dir() and not any(out.iterdir()))):
        raise InputError(f"--out {out}: exists and is not a bundle, so it is not replaced; give another folder")
    absent = why_absent(root / "data" / f"detect_{network}")
    if absent is not None:
        raise InputError(f"--network {network}: there is none, as {absent}")
    params = load_params(root / "params.yaml")
    recorded = _recorded(root / "dvc.lock")
    _check_trained_with(
        sections_of(family), {**_TRAINED_WITH, **own.trained_with}, recorded, ("resize", *trained_by.values()), params
    )
    classes_file = _classes_file(root, trained_by.values())
    if classes_file.parent == root / _DATA:
        _check_trained_on(recorded, trained_by.values())
    parts = {part: load_part(root / "data" / stage, part) for part, stage in trained_by.items()}
    used = _used(own.params, params)
    classes = _read_classes(classes_file, own.num_classes(parts))
    trunk = build_parts(family.name, used, len(classes), _joined(parts), root / "data")["trunk"].state_dict()
    try:
        lock = file_sha256(root / "dvc.lock") if recorded else None
        with atomic_folder(out) as folder:
            save_parts(folder, parts)
            content = {
                "format": SCHEMA,
                "family": family.name,
                "network": network,
                "classes": classes,
                "params": used.model_dump(),
                "normalisation": {name: trunk[name].tolist() for name in ("pixel_mean", "pixel_std")},
                "metrics": _metrics(root, network, recorded, used),
                "model_sha256": file_sha256(folder / MODEL_FILE),
                "dvc_lock_sha256": lock,
                **({"timm": timm_version()} if used.backbone.name.startswith(TIMM) else {}),
            }
            write_text(folder / BUNDLE_FILE, settings_text(content))
    except (OSError, SafetensorError) as error:
        raise InputError(f"--out {out}: cannot be written ({error}); choose another place") from error
    size = (out / MODEL_FILE).stat().st_size
    judged = content["metrics"]
    return [
        f"{out}: the {network} network, {len(classes) - 1} classes, {size / 1e6:.1f} MB"
        + (f", mAP@.5 {judged['mAP50']:.4f}" if isinstance(judged, dict) and judged.get("mAP50") is not None else "")
    ]


def _classes_file(root: Path, stages: Iterable[str]) -> Path:
    """Where the classes of a network stand: beside the weights of a detector that was trained on classes of its own,
    else the data set's."""
    folders = {root / "data" / stage for stage in stages}
    own = [detector_classes_file(folder) for folder in folders]
    return own[0] if len(own) == 1 and own[0].is_file() else root / _DATA / "classes.json"


def _check_trained_on(recorded: Mapping[str, Any], stages: Iterable[str]) -> None:
    """Refuse weights of an earlier data set, which would get the names of other classes."""
    outs = {out["path"]: out.get("md5") for entry in recorded.values() for out in entry.get("outs", [])}
    for stage in stages:
        for dep in recorded.get(stage, {}).get("deps", []):
            if dep["path"] == _DATA and dep.get("md5") != outs.get(_DATA):
                raise InputError(
                    f"data/{stage}: was trained on other data than {_DATA} holds now, so its classes are not known; "
                    "run frcnn repro, then bundle"
                )


def _joined(parts: Mapping[str, State]) -> State:
    return {f"{part}.{name}": value for part, state in parts.items() for name, value in state.items()}


def _used(model: type[BundleParams], params: Params) -> BundleParams:
    computation = Computation(threads=params.base.threads, precision=params.base.precision)
    return model(base=computation, **{name: getattr(params, name) for name in model.model_fields if name != "base"})


def _read_classes(path: Path, trained: int | None) -> list[str]:
    rerun = f"rerun the stage that writes it (dvc repro {path.parent.name})"
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable list of classes ({error}); {rerun}") from error
    if trained is not None and len(classes) != trained:
        raise InputError(f"{path}: names {len(classes)} classes, the network was trained with {trained}; run dvc repro")
    return classes


def _recorded(lock: Path) -> dict[str, Any]:
    """The stages of dvc.lock; empty if they were run by hand, which leaves no record to compare with."""
    try:
        stages: dict[str, Any] = read_yaml(lock)["stages"]
    except FileNotFoundError:
        return {}
    except (OSError, TypeError, KeyError, YamlError) as error:
        raise InputError(f"{lock}: not a readable dvc.lock ({type(error).__name__}); run dvc repro") from error
    return stages


def _check_trained_with(
    models: Mapping[str, type[Section]],
    keys: Mapping[str, Sequence[str]],
    recorded: Mapping[str, Any],
    stages: Sequence[str],
    params: Params,
) -> None:
    for stage in stages:
        sections = recorded.get(stage, {}).get("params", {}).get("params.yaml", {})
        for section in sections.keys() & keys.keys():
            now, made = (
                getattr(params, section).model_dump(),
                _made_with(models[section], stage, section, sections[section]),
            )
            for key in keys[section]:
                if made[key] != now[key]:
                    raise InputError(
                        f"params.yaml: {section}.{key} is {now[key]!r}, data/{stage} was made with "
                        f"{made[key]!r}; run dvc repro, or put the parameter back"
                    )


def _made_with(model: type[Section], stage: str, section: str, content: Any) -> dict[str, Any]:
    """A section as dvc.lock records it; a parameter that an earlier version did not have yet has its default."""
    try:
        return model.model_validate(content, strict=True).model_dump()
    except ValidationError as error:
        key = ".".join(map(str, (section, *error.errors()[0]["loc"])))
        raise InputError(
            f"params.yaml: data/{stage} was made by another version, whose {key} this one cannot read; run dvc repro"
        ) from error


def _metrics(root: Path, network: str, recorded: Mapping[str, Any], used: BundleParams) -> dict[str, Any] | None:
    """metrics.json of the network, if dvc.lock shows that it evaluates these weights with these parameters."""
    evaluate, detect = (recorded.get(f"{verb}_{network}", {}) for verb in ("evaluate", "detect"))
    path = root / "data" / f"evaluate_{network}" / "metrics.json"
    if not path.is_file() or not evaluate or not detect:
        return None
    made = {out["path"]: out.get("md5") for stage in recorded.values() for out in stage.get("outs", [])}
    read = {dep["path"]: dep.get("md5") for stage in (detect, evaluate) for dep in stage.get("deps", [])}
    current = all(read[path] == made[path] for path in read.keys() & made.keys())
    read_by_detect = detect.get("params", {}).get("params.yaml", {})
    own = used.own_sections()
    stage = f"detect_{network}"
    as_now = all(
        _made_with(type(own[name]), stage, name, read_by_detect[name]) == own[name].model_dump()
        for name in read_by_detect.keys() & own.keys()
    )
    text = path.read_bytes()
    same_file = hashlib.md5(text, usedforsecurity=False).hexdigest() == made.get(path.relative_to(root).as_posix())
    return json.loads(text) if current and same_file and as_now else None

"""The `frcnn preset` line that gives parameters again: the preset they are nearest to, and what differs from it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.params.reading import Params
from pipeline.params.section import Section
from pipeline.presets.apply import preset_names, preset_params
from pipeline.presets.links import LINKED, linked_file, links_of, parameter_set_by


def leaves(params: Params) -> dict[str, Any]:
    """Every parameter as section.key -> value."""
    return {key: value for name, section in params.sections().items() for key, value in _leaves(name, section)}


def _leaves(name: str, section: Section) -> Iterator[tuple[str, Any]]:
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, Section):
            yield from _leaves(f"{name}.{key}", value)
        else:
            yield f"{name}.{key}", value


def differences(params: Params, other: Params) -> dict[str, Any]:
    """The parameters that have another value than in `other`, which are of the same family."""
    base = leaves(other)
    return {key: value for key, value in leaves(params).items() if value != base[key]}


def nearest_preset(params: Params) -> str | None:
    """The preset of the same family from which the fewest parameters differ; default among equals. None where the
    family has no preset."""
    names = sorted(preset_names(params.family), key=lambda name: (name != "default", name))
    return min(names, key=lambda name: len(differences(params, preset_params(name))), default=None)


def preset_line(root: Path, data: Path, params: Params, preset: str | None, changes: Mapping[str, Any]) -> str | None:
    """A command for a shell that gives these parameters with `changes`, and links the data and what else is linked now.

    Args:
        root: the project's folder, from which the command will be run.
        data: the data root.
        params: what is to be kept.
        preset: of the same family, to start from; None: the nearest one.
        changes: section.key -> value, applied to `params`.

    Returns:
        None where `frcnn preset` would refuse, because files of the user's own lie where it puts links, or where the
        family has no preset.
    """
    if any(_holds_files(root / LINKED[key]) for key in links_of(params.sections())):
        return None
    name = preset or nearest_preset(params)
    if name is None:
        return None
    settings = {**differences(params, preset_params(name)), **changes}
    links = {"dataset.root": data, **_linked(root, params)}
    set_by_links = {parameter_set_by(key) for key in links}
    settings = {key: value for key, value in settings.items() if key not in set_by_links}
    words = [f"{key}={_path(path)}" for key, path in links.items()]
    words += [f"{key}={as_yaml(value)}" for key, value in settings.items()]
    return f"frcnn preset {name} {shlex.join(words)}"


def as_yaml(value: Any) -> str:
    """A value as one line of YAML that every YAML version reads as this value."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float):
        mantissa, exponent, power = repr(value).partition("e")
        return (mantissa if "." in mantissa or not exponent else f"{mantissa}.0") + exponent + power
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(str(key))}: {as_yaml(own)}" for key, own in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    return json.dumps(value)


def _quoted(text: str) -> str:
    plain = text.isascii() and text.replace("_", "").replace("/", "").replace(".", "").isalnum()
    if (
        plain
        and text[0].isalpha()
        and text.lower() not in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
    ):
        return text
    escaped = json.dumps(text, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped)


def _path(path: Path) -> str:
    text = os.fspath(path)
    return f"./{text}" if text.startswith("~") else text


def _holds_files(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink() and any(not path.is_symlink() for path in place.iterdir())


def _linked(root: Path, params: Params) -> dict[str, Path]:
    """What params.yaml has read from a place for links and is linked there."""
    wanted = {
        "backbone.weights": params.backbone.weights == "file",
        "init.detector": params.init.detector == "file",
        "proposals.file": "proposals" in params.sections() and params.proposals.source == "file",
    }
    found = {}
    for key, needed in wanted.items():
        place = root / LINKED[key]
        target = linked_file(place) if needed and place.is_dir() else None
        if target is not None:
            here = root.resolve()
            found[key] = target.relative_to(here) if target.is_relative_to(here) else target
    return found

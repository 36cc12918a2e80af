"""Values set in the text of a params.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.families.registry import family_names, family_of
from pipeline.params.file import sections_of
from pipeline.params.section import Section
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import nearest_key_text
from pipeline.runtime.yaml_files import YamlError, in_one_line, parse_yaml


def apply_overlay(params: dict[str, Any], overlay: Any, source: object) -> None:
    """Set what an overlay, section -> key -> value, has of a params.yaml; a block of a section may be given in part.

    Args:
        source: what an error calls it.

    Raises:
        InputError: it is no such mapping, or has a parameter that `params` does not have.
    """
    if not _holds_mappings(overlay):
        raise InputError(f"{source}: must hold sections with their parameters; see docs/parameters.md")
    for section, values in overlay.items():
        for key, value in values.items():
            inside = (
                {f"{key}.{inner}": leaf for inner, leaf in value.items()} if isinstance(value, dict) else {key: value}
            )
            for name, leaf in inside.items():
                try:
                    set_parameter(params, f"{section}.{name}", leaf)
                except InputError as error:
                    raise InputError(f"{source}: {error}") from None


def set_parameter(params: dict[str, Any], key: str, value: Any) -> None:
    """Set `section.key`, or `section.block.key`; of `section.block` what `value` has, a mapping.

    Raises:
        InputError: there is no such parameter.
    """
    *path, leaf = key.split(".")
    if len(path) == 1 and isinstance(value, dict) and value and _is_block(path[0], leaf, params.get("family")):
        for inner, own in value.items():
            set_parameter(params, f"{key}.{inner}", own)
        return
    node: Any = params
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    if isinstance(node, dict) and path:
        leaf = _present_name(path[0], leaf, params.get("family")) if leaf not in node else leaf
    if not isinstance(node, dict) or leaf not in node or not path:
        family = params.get("family")
        if path and path[0] not in params:
            near = nearest_key_text(key, _keys(params))
            raise InputError(
                f"unknown parameter {key}: family {family} has no section {path[0]}{near}; see params.yaml"
            )
        raise InputError(
            f"unknown parameter {key}{nearest_key_text(key, _keys(params))}; docs/parameters.md lists them"
        )
    if isinstance(node[leaf], dict) and node[leaf] and not isinstance(value, dict):
        raise InputError(f"{key} is a block; give one of {', '.join(f'{key}.{own}' for own in node[leaf])}")
    node[leaf] = in_one_line(value)


def _keys(params: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every parameter and block of a params.yaml, `section.key`."""
    for name, value in params.items():
        if prefix:
            yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{name}.")


def _is_block(section: str, key: str, family: Any) -> bool:
    """Whether `section.key` holds parameters of its own, not a mapping of the user's."""
    model = sections_of(family_of(family)).get(section) if family in family_names() else None
    kind = model.model_fields[key].annotation if model and key in model.model_fields else None
    return isinstance(kind, type) and issubclass(kind, Section)


def _present_name(section: str, key: str, family: Any) -> str:
    """The present name of a key of an earlier version; other keys are returned unchanged."""
    model = sections_of(family_of(family)).get(section) if family in family_names() else None
    return model.renamed.get(key, key) if model else key


def parse_value(override: str, value: str) -> Any:
    """The value of an override.

    Raises:
        InputError: it is not YAML.
    """
    try:
        return parse_yaml(value, override)
    except YamlError as error:
        raise InputError(f"{override!r}: the value is not valid YAML; quote it") from error


def _holds_mappings(overlay: Any) -> bool:
    return isinstance(overlay, Mapping) and all(isinstance(values, Mapping) for values in overlay.values())

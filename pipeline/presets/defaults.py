"""The default params.yaml of a family: the common sections, then its own, comments kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline import params as params_package
from pipeline.families.family import Family
from pipeline.families.registry import folder_of
from pipeline.graphs.declared_text import declared_text
from pipeline.params.file import COMMON, sections_of
from pipeline.presets.overlay import apply_overlay
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_blocks import YamlBlocks, yaml_blocks
from pipeline.runtime.yaml_files import EditedYaml, parse_yaml

_PURPOSE = "a family's sections and their defaults stand"

_COMMON = Path(params_package.__path__[0]) / "common.yaml"
_FAMILY = (
    "family: {} # kind of detector; its sections follow the common ones. Set by frcnn preset, together with dvc.yaml\n"
)


def default_text(family: Family) -> str:
    """The text of a family's params.yaml with its default values.

    A common section that the family's file has in full takes the common one's place; of one with only some of the keys
    the values are taken over. Sections that it lacks are those of the family that it names for that (`defaults_of`).

    Raises:
        InputError: the family's file is missing or no YAML, or gives a value to a key that its common section
            does not have.
    """
    file = folder_of(family.name) / "params.yaml"
    common, own, values = yaml_blocks(declared_text(_COMMON, _PURPOSE)), *_own_blocks(file)
    if family.defaults_of:
        others, other_values = _own_blocks(folder_of(family.defaults_of) / "params.yaml")
        lacking = [name for name in family.sections if name in others.blocks and name not in own.blocks]
        own = YamlBlocks(own.header, {**{name: others.blocks[name] for name in lacking}, **own.blocks})
        values = {**{name: other_values[name] for name in lacking}, **values}
    partly = {
        name for name in COMMON.keys() & values.keys() if not COMMON[name].model_fields.keys() <= values[name].keys()
    }
    blocks = {**common.blocks, **{name: block for name, block in own.blocks.items() if name not in partly}}
    names = dict.fromkeys((*sections_of(family), *blocks))
    before = [blocks[name] for name in names if name in common.blocks and name not in own.blocks.keys() - partly]
    after = [blocks[name] for name in names if name in own.blocks.keys() - partly]
    parts = (common.header, _FAMILY.format(family.name), *before, own.header, *after)
    text = "\n".join(filter(None, parts))
    if not partly:
        return text
    edited = EditedYaml(text, file)
    apply_overlay(edited.content, {name: values[name] for name in values if name in partly}, file)
    return edited.text()


def _own_blocks(file: Path) -> tuple[YamlBlocks, dict[str, dict[str, Any]]]:
    """The sections in a family's file, as text and as values."""
    text = declared_text(file, _PURPOSE)
    values = parse_yaml(text, file) or {}
    if not isinstance(values, dict) or not all(isinstance(section, dict) for section in values.values()):
        raise InputError(f"{file}: must hold sections with their parameters; see pipeline/params/common.yaml")
    return yaml_blocks(text), values

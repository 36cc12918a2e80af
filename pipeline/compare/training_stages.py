"""Which stages a family runs to get a network's weights, according to its graph file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.graphs.composing import graph_path
from pipeline.runtime.errors import InputError
from pipeline.runtime.yaml_files import read_yaml


def stages_before(root: Path, family: str, detect: str) -> list[str]:
    """The family's own stages that a detect stage needs, directly or through others; none where its graph lacks it.

    Stages that all families have are not among them.
    """
    try:
        return _before(read_yaml(graph_path(root, family))["stages"], detect)
    except (FileNotFoundError, InputError, LookupError, TypeError, AttributeError):
        return []


def _before(stages: Mapping[str, Any], detect: str) -> list[str]:
    writer = {_folder(out): name for name, stage in stages.items() for out in stage.get("outs", ())}
    found: set[str] = set()
    left = [detect] if detect in stages else []
    while left:
        needed = {writer.get(_folder(dep)) for dep in stages[left.pop()].get("deps", ())} - {None} - found
        left += [str(name) for name in needed]
        found |= {str(name) for name in needed}
    return [name for name in stages if name in found]


def _folder(path: Any) -> str:
    """data/NAME of a path, or of an output with options."""
    own = next(iter(path)) if isinstance(path, dict) else str(path)
    return "/".join(own.split("/")[:2])

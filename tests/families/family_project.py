"""Parameters and project folders of any family that the project has, for stages that run in the tests' process."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.families.registry import family_of
from pipeline.graphs.composing import composed
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from pipeline.presets.defaults import default_text
from pipeline.presets.links import LINKED, links_of
from tests.conftest import ROOT, apply_overlay


def family_content(family: str, *overlays: dict[str, Any]) -> dict[str, Any]:
    """A family's default params.yaml with changes."""
    content = copy.deepcopy(_defaults(family))
    for overlay in overlays:
        apply_overlay(content, overlay)
    return content


@cache
def _defaults(family: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(default_text(family_of(family)))
    return content


def family_params(family: str, *overlays: dict[str, Any]) -> Params:
    """The same, checked."""
    return Params(check_params(family_content(family, *overlays), "test"), family)


def write_family_project(root: Path, family: str, *overlays: dict[str, Any]) -> Path:
    """Write dvc.yaml and params.yaml of a family into a folder."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dvc.yaml").write_text(composed(ROOT, family))
    content = family_content(family, *overlays)
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    for place in links_of(content):
        (root / LINKED[place]).mkdir(parents=True)
    return root

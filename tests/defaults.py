"""The default parameters, as `frcnn preset default` writes them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from pipeline.families.registry import DEFAULT, family_of
from pipeline.params.reading import Params
from pipeline.presets.apply import preset_params
from pipeline.presets.defaults import default_text

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_TEXT = default_text(family_of(DEFAULT))
"""The default params.yaml."""


def default_content() -> dict[str, Any]:
    """Its content, for the caller to change."""
    content: dict[str, Any] = yaml.safe_load(DEFAULT_TEXT)
    return content


def default_params(*sections: str) -> Params:
    """Its parameters, those of some sections or all."""
    params = preset_params("default")
    return Params({name: params.sections()[name] for name in sections}) if sections else params


def write_default_params(folder: Path) -> None:
    """Write it into a folder."""
    (folder / "params.yaml").write_text(DEFAULT_TEXT, encoding="utf-8")


def copy_graphs(folder: Path) -> None:
    """Put the graph files into a folder, so that `frcnn preset` has what it makes dvc.yaml of."""
    shutil.copytree(ROOT / "graphs", folder / "graphs")

"""The made-up family `points` in a project: visible in the tests' process, and copied into a copy of the project."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml

from pipeline import families
from pipeline.families.registry import family_of
from pipeline.graphs.composing import composed
from pipeline.presets.defaults import default_text
from pipeline.presets.links import LINKED, links_of
from tests.conftest import ROOT, TINY, Project, apply_overlay, new_project

FILES = ROOT / "tests/families/points"
PACKAGE = FILES / "points"

POINTS_TINY: dict[str, Any] = {
    **{section: TINY[section] for section in ("base", "dataset", "backbone", "resize", "solver")},
    "points": {"channels": 16},
    "train_points": {"iterations": 4, "images_per_iteration": 2, "lr_drop_at": [3], "warmup_iterations": 1},
    "detect_points": {"score_threshold": 0.0, "per_level": 50},
    "evaluate": {"score_threshold": 0.0},
}
"""A run of seconds."""


@contextmanager
def visible() -> Iterator[None]:
    """Within, `pipeline.families.points` can be imported."""
    with patch.object(families, "__path__", [*families.__path__, str(FILES)]):
        yield


def install(root: Path) -> None:
    """Add the family to a copy of the project: its package, its graph and its preset, and no other edit."""
    shutil.copytree(PACKAGE, root / "pipeline/families/points", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(FILES / "graph.yaml", root / "graphs/points.yaml")
    shutil.copyfile(FILES / "preset.yaml", root / "pipeline/presets/shapes_points.yaml")


def new_points_project(root: Path, overlay: dict[str, Any]) -> Project:
    """A copy of the project in `root` with the family added, and its preset applied.

    Args:
        overlay: changes to the preset's parameters.
    """
    project = new_project(root, {})
    install(root)
    applied = project.run("frcnn", "preset", "shapes_points")
    assert applied.returncode == 0, applied.stderr
    project.set_params(overlay)
    return project


def write_project(root: Path, overlay: dict[str, Any]) -> Path:
    """dvc.yaml and params.yaml of the family in a folder where its stages run in the tests' process.

    Args:
        overlay: changes to the family's default parameters.
    """
    (root / "graphs").mkdir(parents=True)
    shutil.copyfile(ROOT / "graphs/common.yaml", root / "graphs/common.yaml")
    shutil.copyfile(FILES / "graph.yaml", root / "graphs/points.yaml")
    (root / "dvc.yaml").write_text(composed(root, "points"))
    params = yaml.safe_load(default_text(family_of("points")))
    (root / "params.yaml").write_text(yaml.safe_dump(apply_overlay(params, overlay), sort_keys=False))
    for place in links_of(params):
        (root / LINKED[place]).mkdir(parents=True)
    return root

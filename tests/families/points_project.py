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
from pipeline.params.file import COMMON
from tests.conftest import ROOT, TINY, apply_overlay

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


def write_project(root: Path, overlay: dict[str, Any]) -> Path:
    """dvc.yaml and params.yaml of the family in a folder where its stages run in the tests' process.

    Args:
        overlay: changes to the family's default parameters.
    """
    root.mkdir(parents=True, exist_ok=True)
    graph, common = (yaml.safe_load(path.read_text()) for path in (FILES / "graph.yaml", ROOT / "dvc.yaml"))
    stages = {name: common["stages"][name] for name in ("dataset", "backbone", "resize")}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {**stages, **graph["stages"]}}, sort_keys=False))
    default = yaml.safe_load((ROOT / "params.yaml").read_text())
    params = {"family": "points", **{name: default[name] for name in COMMON}}
    del params["evaluate"]["recall_proposals"]
    params |= yaml.safe_load((PACKAGE / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump(apply_overlay(params, overlay), sort_keys=False))
    for name in ("raw", "weights", "initial_detector"):
        (root / "data" / name).mkdir(parents=True, exist_ok=True)
    return root

"""The family `retinanet` in a project of the tests, and its parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipeline.families.registry import family_of
from pipeline.graphs.composing import composed
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from pipeline.presets.defaults import default_text
from pipeline.presets.links import LINKED, links_of
from tests.conftest import ROOT, TINY, apply_overlay

FAMILY = "retinanet"

RETINANET_TINY: dict[str, Any] = {
    **{section: TINY[section] for section in ("base", "dataset", "resize", "solver", "evaluate")},
    "backbone": {"weights": "random"},
    "retinanet": {"channels": 32, "norm": "group", "box_loss": "l1", "normaliser": "ema"},
    "train_retinanet": {"iterations": 4, "images_per_iteration": 2, "lr_drop_at": [3], "warmup_iterations": 1},
    "detect_retinanet": {"score_threshold": 0.0, "per_level": 50},
}
"""A run of seconds."""

PYRAMID: dict[str, Any] = {
    "backbone": {
        "name": "resnet18",
        "weights": "random",
        "size_divisible": 32,
        "neck": {"name": "fpn_p3_p7", "channels": 256},
    },
    "anchors": {"base_size": 32, "scales": [1.0, 2 ** (1 / 3), 2 ** (2 / 3)]},
    "retinanet": {"depth": 4, "channels": 256, "norm": "none", "box_loss": "l1"},
}
"""The published head and anchors, on the smallest ResNet."""


def params_of(*overlays: dict[str, Any]) -> Params:
    """The family's defaults with overlays."""
    content = yaml.safe_load(default_text(family_of(FAMILY)))
    for overlay in overlays:
        apply_overlay(content, overlay)
    return Params(check_params(content, "test"), FAMILY)


def write_project(root: Path, overlay: dict[str, Any]) -> Path:
    """dvc.yaml and params.yaml of the family in a folder where its stages run in the tests' process.

    Args:
        overlay: changes to the family's default parameters.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "dvc.yaml").write_text(composed(ROOT, FAMILY))
    params = apply_overlay(yaml.safe_load(default_text(family_of(FAMILY))), overlay)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for place in links_of(params):
        (root / LINKED[place]).mkdir(parents=True)
    return root

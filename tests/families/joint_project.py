"""The family `faster_rcnn_joint` in a project of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipeline.families.registry import family_of
from pipeline.graphs.composing import composed
from pipeline.presets.defaults import default_text
from pipeline.presets.links import LINKED, links_of
from tests.conftest import ROOT, TINY, apply_overlay

FAMILY = "faster_rcnn_joint"

JOINT_TINY: dict[str, Any] = {
    **{section: TINY[section] for section in ("base", "dataset", "backbone", "resize", "proposals", "roi_head")},
    **{section: TINY[section] for section in ("solver", "detect", "evaluate")},
    "train_end_to_end": TINY["finetune_joint"],
}
"""A run of seconds, with the same images and the same anchors as that of `TINY`."""


def write_project(root: Path, overlay: dict[str, Any]) -> Path:
    """dvc.yaml and params.yaml of the family in a folder where its stages run in the tests' process.

    Args:
        overlay: changes to the family's default parameters.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "dvc.yaml").write_text(composed(ROOT, FAMILY))
    params = yaml.safe_load(default_text(family_of(FAMILY)))
    (root / "params.yaml").write_text(yaml.safe_dump(apply_overlay(params, overlay), sort_keys=False))
    for place in links_of(params):
        (root / LINKED[place]).mkdir(parents=True)
    return root

"""A small run of the default graph's first steps, in the process of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.conftest import TINY, apply_overlay
from tests.defaults import default_content
from tests.in_process import run_stages

STEPS_1_AND_2 = (
    *("dataset", "backbone", "resize", "anchor_targets", "frozen_features"),
    *("train_rpn_step1", "proposals_step1", "proposal_targets_step2", "train_head_step2"),
)
SHORT = {"iterations": 2, "images_per_iteration": 2, "lr_drop_at": [], "warmup_iterations": 0}
STEPS = ("train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint")
SMALL: dict[str, Any] = {
    "dataset": {"shapes": {"train": 4, "test": 2, "image_size": 192}},
    "backbone": {"pretrain": {"iterations": 1}},
    "resize": {"shorter_side": 128},
    "proposals": {"pre_nms": 50, "post_nms": 20},
    **{step: SHORT for step in STEPS},
}


def new_root(root: Path, changes: dict[str, Any]) -> Path:
    """A folder with params.yaml and the empty folders that a user may link data into."""
    content = default_content()
    for overlay in (TINY, SMALL, changes):
        apply_overlay(content, overlay)
    for linked in ("raw", "weights", "initial_detector", "external_proposals"):
        (root / "data" / linked).mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return root


def change_params(root: Path, changes: dict[str, Any]) -> None:
    """Change the params.yaml in a folder."""
    path = root / "params.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(apply_overlay(content, changes), sort_keys=False), encoding="utf-8")


def up_to_step_2(root: Path, changes: dict[str, Any]) -> Path:
    """A run up to step 2 of small parameters with `changes`."""
    run_stages(new_root(root, changes), *STEPS_1_AND_2)
    return root

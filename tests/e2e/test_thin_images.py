"""Images thinner than a stride, of one pixel, and without a usable anchor or a proposal, from the table that lists them
to detections, figures and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.artifacts.anchor_targets import ANCHOR_IMAGES
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_tables import RESIZED_IMAGES
from pipeline.artifacts.tables import read_columns
from pipeline.runtime.errors import InputError
from pipeline.views.inspect.command import inspect_artifact
from tests.conftest import TINY, Project, new_project
from tests.in_process import run_stages

STEPS = ("train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint")
BEFORE_TRAINING = ("resize", "anchor_targets")
TRAIN = (
    *("dataset", "backbone", "resize", "frozen_features", "anchor_targets", "train_rpn_step1", "proposals_step1"),
    *("proposal_targets_step2", "train_head_step2", "features", "train_rpn_step3", "proposals_step3"),
    *("proposal_targets_step4", "train_head_step4", "finetune_joint"),
)
JUDGE = ("detect_step2", "detect_joint", "evaluate_joint")
SHAPES = {"wide": (10, 900), "tall": (1500, 6), "dot": (1, 1), "line": (1, 900)}  # height, width, px


def project_of(root: Path, changes: dict[str, Any], ordinary: int) -> Project:
    """A table of thin images, half of them with an object, and of so many ordinary ones, in train and in test."""
    schedule = {"iterations": 3, "images_per_iteration": 2, "lr_drop_at": []}
    tiny = {**TINY, "dataset": {"reader": "table"}, "backbone": {"weights": "random"}, **dict.fromkeys(STEPS, schedule)}
    project = new_project(root, {**tiny, **changes})
    rng = np.random.default_rng(0)
    lines = ["file,split,class,x1,y1,x2,y2"]
    shapes = {**SHAPES, **{f"plain{number}": (150, 200) for number in range(ordinary)}}
    for split in ("train", "test"):
        for name, (height, width) in shapes.items():
            file = f"{split}_{name}.png"
            cv2.imwrite(str(project.data / "raw" / file), rng.integers(0, 255, (height, width, 3), np.uint8))
            box = "" if name in ("dot", "line") else f"{width // 4},{height // 4},{width // 2},{height // 2}"
            lines.append(f"{file},{split}," + (f"car,{box}" if box else ",,,,"))
    (project.data / "raw/boxes.csv").write_text("\n".join(lines) + "\n")
    return project


@pytest.mark.parametrize(
    ("border", "kept", "ordinary"), [(0.0, True, 2), pytest.param(None, False, 0, marks=pytest.mark.long)]
)
def test_thin_images_are_ordinary_in_every_stage(
    tmp_path: Path, border: float | None, kept: bool, ordinary: int
) -> None:
    changes = {"anchor_targets": {"allowed_border": border}, "features": {"keep_frozen_stages": kept}}
    project = project_of(tmp_path / "project", changes, ordinary)
    run_stages(project.root, *TRAIN, *JUDGE)
    anchors = read_columns(project.data / "anchor_targets/images.parquet", ANCHOR_IMAGES)
    assert (anchors["anchors"] > 0).all() and len(anchors["anchors"]) == 2 * (4 + ordinary)
    resized = read_columns(project.data / "resize/images.parquet", RESIZED_IMAGES)
    assert min(resized["height"].min(), resized["width"].min()) == 1
    proposals = read_columns(project.data / "proposals_step1/proposals.parquet", PROPOSALS)
    assert "train_dot" not in set(proposals["image_id"])
    for stage in STEPS:
        history = np.genfromtxt(project.data / stage / "history.csv", delimiter=",", names=True)
        assert np.isfinite(np.atleast_1d(history)["loss"]).all()
    for stage in (*BEFORE_TRAINING, "proposals_step1", "proposal_targets_step2", *JUDGE):
        for name in SHAPES:
            image = f"{'test' if stage in JUDGE else 'train'}_{name}"
            inspect_artifact(project.root, stage, image, tmp_path / "shown.png", 0.0, None, lambda line: None)
            assert cv2.imread(str(tmp_path / "shown.png")) is not None


def test_where_no_training_image_has_a_usable_anchor_the_error_says_what_to_do(tmp_path: Path) -> None:
    project = project_of(tmp_path / "project", {}, ordinary=0)
    table = project.data / "raw/boxes.csv"  # one pixel becomes a square, which has anchors
    table.write_text("".join(line for line in table.read_text().splitlines(True) if "train_dot" not in line))
    run_stages(project.root, "dataset", "backbone", "resize", "frozen_features", "anchor_targets")
    with pytest.raises(InputError) as caught:
        run_stages(project.root, "train_rpn_step1")
    assert str(caught.value) == (
        "no training image has an anchor that may be used; resize to larger images, lower anchors.scales, "
        "or set anchor_targets.allowed_border to null"
    )

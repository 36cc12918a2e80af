"""Figures of stages against counts by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.anchor_targets import ANCHOR_IMAGES, FG_ANCHORS
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_tables import RESIZED_BOXES
from pipeline.artifacts.tables import TableWriter, read_columns, write_table
from pipeline.graphs.command import StageCommand
from pipeline.runtime.errors import InputError
from pipeline.views.metrics import metrics_of
from tests.views.conftest import Command


def test_dataset(handmade: Path, command: Command) -> None:
    assert metrics_of(command("dataset"), handmade) == {
        "train_images": 3,
        "test_images": 1,
        "train_boxes": 3,
        "test_boxes": 1,
        "findings_inverted, dropped": 2,
        "findings_zero_area, dropped": 1,
    }


def test_resize(handmade: Path, command: Command) -> None:
    megabytes = (handmade / "data/resize/pixels-00000.npz").stat().st_size / 1e6
    assert metrics_of(command("resize"), handmade) == {"images": 4, "MB": megabytes}


def test_anchor_targets_count_mirrors_and_images_without_fg(handmade: Path, command: Command) -> None:
    assert metrics_of(command("anchor_targets"), handmade) == {
        "images": 3,
        "fg_anchors_per_image": 6 / 6,
        "share_without_fg": 3 / 6,
    }


def test_anchor_targets_of_a_run_without_mirrors(handmade: Path, command: Command) -> None:
    own = {"anchor": [1, 2], "matched_gt": [0, 0], "max_iou": [0.7, 0.7], "dx": 0.0, "dy": 0.0, "dw": 0.0, "dh": 0.0}
    with TableWriter(handmade / "data/anchor_targets/fg_anchors.parquet", FG_ANCHORS) as table:
        table.write({"image_id": "c", "view": 0, **own})
    index = handmade / "data/anchor_targets/images.parquet"
    rows = read_columns(index, ANCHOR_IMAGES)
    write_table(index, ANCHOR_IMAGES, {name: values[rows["view"] == 0] for name, values in rows.items()})
    figures = metrics_of(command("anchor_targets"), handmade)
    assert figures["fg_anchors_per_image"] == pytest.approx(2 / 3)
    assert figures["share_without_fg"] == pytest.approx(2 / 3)


def test_anchor_targets_without_any_fg(handmade: Path, command: Command) -> None:
    with TableWriter(handmade / "data/anchor_targets/fg_anchors.parquet", FG_ANCHORS):
        pass
    figures = metrics_of(command("anchor_targets"), handmade)
    assert (figures["fg_anchors_per_image"], figures["share_without_fg"]) == (0, 1)


def test_training(handmade: Path, command: Command) -> None:
    assert metrics_of(command("train_rpn_step1"), handmade) == {
        "iterations": 4,
        "loss_first": 2.5,
        "rpn_objectness_first": 2.0,
        "rpn_box_first": 0.5,
        "loss_last": 1.5,
        "rpn_objectness_last": 1.25,
        "rpn_box_last": 0.25,
    }


def test_proposals_recall_plain_gt_boxes(handmade: Path, command: Command) -> None:
    assert metrics_of(command("proposals_step1"), handmade) == {
        "images": 3,
        "proposals_per_image": 5 / 6,
        "recall50": 1 / 2,
    }


def test_recall_without_gt_boxes_is_left_out(handmade: Path, command: Command) -> None:
    with TableWriter(handmade / "data/resize/boxes.parquet", RESIZED_BOXES):
        pass
    assert "recall50" not in metrics_of(command("proposals_step1"), handmade)


def test_proposal_targets(handmade: Path, command: Command) -> None:
    figures = metrics_of(command("proposal_targets_step2"), handmade)
    counts = {"fg_per_image": 3, "bg_per_image": 2, "ignored_per_image": 1}
    assert figures == {"images": 3, **{name: pytest.approx(count / 6) for name, count in counts.items()}}


def test_features(handmade: Path, command: Command) -> None:
    megabytes = (handmade / "data/features/maps-00000.npz").stat().st_size / 1e6
    assert metrics_of(command("features"), handmade) == {"maps": 6, "MB": megabytes}


def test_detect(handmade: Path, command: Command) -> None:
    assert metrics_of(command("detect_step4"), handmade) == {
        "test_images": 1,
        "test_detections_per_image": 3,
    }


def test_evaluate_leaves_out_what_is_no_figure(handmade: Path, command: Command) -> None:
    folder = handmade / "data/evaluate_step4"
    folder.mkdir()
    metrics = {"mAP50": 0.5, "AP": -1.0, "mAP50_11point": None, "class_AP50": {"ellipse": 0.5}, "images": 3}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert metrics_of(command("evaluate_step4"), handmade) == {"mAP50": 0.5, "AP": -1.0, "images": 3}


def test_losses_that_overflow_are_left_out(handmade: Path, command: Command) -> None:
    (handmade / "data/train_rpn_step1/history.csv").write_text("iteration,lr,loss\n2,0.1,nan\n4,0.1,1.5\n")
    assert metrics_of(command("train_rpn_step1"), handmade) == {"iterations": 4, "loss_last": 1.5}


def test_module_without_figures(handmade: Path) -> None:
    assert metrics_of(StageCommand.parse("python -m stages.other --params base --out data/other"), handmade) == {}


@pytest.mark.parametrize(
    ("stage", "file", "content"),
    [
        ("dataset", "dataset/images.parquet", None),
        ("dataset", "dataset/metrics.json", b"[1"),
        ("resize", "resize/pixels-00000.npz", None),
        ("anchor_targets", "anchor_targets/fg_anchors.parquet", None),
        ("train_rpn_step1", "train_rpn_step1/history.csv", None),
        ("train_rpn_step1", "train_rpn_step1/history.csv", b""),
        ("train_rpn_step1", "train_rpn_step1/history.csv", b"iteration,lr\n1,2\n"),
        ("train_rpn_step1", "train_rpn_step1/history.csv", b"iteration,lr,loss\n1,2\n"),
        ("train_rpn_step1", "train_rpn_step1/history.csv", b"iteration,lr,loss\n1,2,high\n"),
        ("train_rpn_step1", "train_rpn_step1/history.csv", bytes(range(256))),
        ("proposals_step1", "proposals_step1/proposals.parquet", None),
        ("proposals_step1", "resize/images.parquet", None),
        ("features", "features/images.parquet", None),
        ("detect_step4", "detect_step4/detections.parquet", b"\0" * 400),
        ("evaluate_step4", "detect_step4/detections.parquet", None),
    ],
)
def test_bad_artifact_is_told_in_one_line(
    handmade: Path, command: Command, stage: str, file: str, content: bytes | None
) -> None:
    path = handmade / "data" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        metrics_of(command(stage), handmade)
    assert "dvc repro" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mirrors_found_in_a_later_row_group_count(handmade: Path, command: Command) -> None:
    own = {"rank": [0], "score": [0.5], "x1": [0], "y1": [0], "x2": [9], "y2": [9]}
    with TableWriter(handmade / "data/proposals_step1/proposals.parquet", PROPOSALS) as table:
        for index in range(100):
            table.write({"image_id": f"a{index:03d}", "view": 0, **own})
        table.write({"image_id": "c", "view": 1, **own})
    assert metrics_of(command("proposals_step1"), handmade)["proposals_per_image"] == pytest.approx(101 / 6)


def test_figures_are_plain_floats(handmade: Path, command: Command) -> None:
    for stage in ("dataset", "resize", "anchor_targets", "proposals_step1", "train_rpn_step1"):
        assert all(
            type(value) is float and np.isfinite(value) for value in metrics_of(command(stage), handmade).values()
        )

"""Trainings whose batches are made by processes end with the weights of those whose batches a thread makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.feeding import loaders
from pipeline.feeding.packed import Packed, unpack
from pipeline.runtime.variables import LOADERS
from tests.e2e.mixed_sizes import FOUR_STEPS, SCHEDULE, write_mixed_project
from tests.fidelity.conftest import files_of
from tests.in_process import run_stage, run_stages

SSD = {
    "resize": {"fixed_width": 64, "fixed_height": 48},
    "train_ssd": {**SCHEDULE, "lr": 0.001},
    "detect_ssd": {"score_threshold": 0.0},
}


def assert_same(name: str, root: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    received = []

    def noted(packed: Packed) -> Any:
        received.append(packed)
        return unpack(packed)

    monkeypatch.setattr(loaders, "unpack", noted)
    monkeypatch.setenv(LOADERS, "2")
    by_processes = files_of(run_stage(name, root, out / name))
    assert by_processes == files_of(root / "data" / name)
    assert len(received) == SCHEDULE["iterations"]


def test_views_drawn_of_originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_mixed_project(tmp_path / "project", "ssd", SSD)
    run_stages(root, "dataset", "backbone", "resize", "ssd_targets", "train_ssd")
    assert_same("train_ssd", root, tmp_path, monkeypatch)


@pytest.mark.long
def test_maps_anchors_and_rois(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_mixed_project(tmp_path / "project", "faster_rcnn", FOUR_STEPS)
    run_stages(root, "dataset", "backbone", "resize", "anchor_targets", "frozen_features", "train_rpn_step1")
    run_stages(root, "proposals_step1", "proposal_targets_step2", "train_head_step2")
    for name in ("train_rpn_step1", "train_head_step2"):
        assert_same(name, root, tmp_path, monkeypatch)

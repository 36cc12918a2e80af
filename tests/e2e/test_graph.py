"""The whole graph on a dozen generated images, run by DVC as a user would."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.presets.links import LINKED
from tests.conftest import TINY, Project, new_project
from tests.e2e.stand_in import stand_in


@pytest.fixture
def changed_run(tiny_run: Project, tmp_path: Path) -> Project:
    """A copy of the finished run, to change a parameter in."""
    shutil.copytree(tiny_run.root, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


def test_all_stages_leave_their_folder_and_nothing_half_written(tiny_run: Project) -> None:
    stages = set(tiny_run.lock())
    assert len(stages) == 22
    linked = {Path(place).name for place in LINKED.values()} | {".gitignore"}
    assert {path.name for path in tiny_run.data.iterdir()} == stages | linked
    assert not list(tiny_run.data.rglob("*.partial"))


def test_every_network_is_evaluated_with_every_figure(tiny_run: Project) -> None:
    for network in ("step2", "step4", "joint"):
        metrics = json.loads((tiny_run.data / f"evaluate_{network}/metrics.json").read_text())
        assert metrics["images"] == 6 and metrics["detections"] > 0
        for key in ("mAP50", "mAP50_11point", "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100"):
            assert -1 <= metrics[key] <= 1


def test_a_second_repro_runs_nothing(tiny_run: Project) -> None:
    assert tiny_run.repro() == []


def test_a_step_4_parameter_reruns_step_4_and_what_follows_only(
    changed_run: Project, tiny_run: Project, tmp_path: Path
) -> None:
    changed_run.set_params({"train_head_step4": {"lr": 0.005}})
    assert set(changed_run.repro(programs=stand_in(tmp_path / "bin", tiny_run))) == {
        "train_head_step4",
        "finetune_joint",
        "detect_step4",
        "detect_joint",
        "evaluate_step4",
        "evaluate_joint",
    }


def test_an_anchor_threshold_leaves_data_pixels_and_backbone_alone(
    changed_run: Project, tiny_run: Project, tmp_path: Path
) -> None:
    changed_run.set_params({"anchor_targets": {"fg_iou": 0.6}})
    status = json.loads(changed_run.run("dvc", "status", "--json").stdout)
    assert set(status) == {"code", "anchor_targets"}  # DVC lists a stage that always runs
    assert changed_run.repro("anchor_targets", programs=stand_in(tmp_path / "bin", tiny_run)) == ["anchor_targets"]


def test_a_replaced_photo_and_replaced_weights_are_noticed_through_the_links(changed_run: Project) -> None:
    outside = changed_run.root.parent / "outside"
    outside.mkdir()
    (outside / "photo.jpg").write_bytes(b"first")
    (outside / "weights.pth").write_bytes(b"first")
    (changed_run.data / "raw").rmdir()
    (changed_run.data / "raw").symlink_to(outside, target_is_directory=True)
    (changed_run.data / "weights/weights.pth").symlink_to(outside / "weights.pth")
    changed_run.run("dvc", "commit", "--force", "dataset", "resize", "backbone")
    assert set(json.loads(changed_run.run("dvc", "status", "--json").stdout)) == {"code"}
    (outside / "weights.pth").write_bytes(b"other")
    assert "backbone" in json.loads(changed_run.run("dvc", "status", "--json").stdout)
    (outside / "photo.jpg").write_bytes(b"other")
    assert "dataset" in json.loads(changed_run.run("dvc", "status", "--json").stdout)
    assert str(outside) not in (changed_run.root / "dvc.lock").read_text()


@pytest.mark.long
def test_two_fresh_clones_end_with_equal_locks(tiny_run: Project, tmp_path: Path) -> None:
    other = new_project(tmp_path / "other", TINY)
    other.repro()
    assert other.lock() == tiny_run.lock()


def test_dvc_shows_what_was_counted_in_the_data_set_beside_the_evaluations(tiny_run: Project) -> None:
    shown = json.loads(tiny_run.run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    evaluations = {f"data/evaluate_{network}/metrics.json" for network in ("step2", "step4", "joint")}
    assert set(shown) == evaluations | {"data/dataset/metrics.json"}
    counts = shown["data/dataset/metrics.json"]["data"]
    assert counts["images"] == {"train": 12, "val": 0, "test": 6} and counts["classes"] == 3

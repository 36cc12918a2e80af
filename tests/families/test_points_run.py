"""The made-up family in a copy of the project: its package, graph and preset are added, and nothing else is edited."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Project, that_forgot
from tests.families.points_project import POINTS_TINY, new_points_project
from tests.faults.test_drill import drill

RANDOM: dict[str, Any] = {**POINTS_TINY, "backbone": {"weights": "random"}}
STAGES = ["dataset", "backbone", "resize", "points_targets", "train_points", "detect_points", "evaluate_points"]


@pytest.fixture(scope="module")
def points_run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Run once, undisturbed. Do not change it."""
    project = new_points_project(tmp_path_factory.mktemp("points") / "project", RANDOM)
    assert sorted(project.repro()) == sorted(STAGES)
    return project


@pytest.mark.long
def test_it_runs_from_its_preset_and_then_has_nothing_to_run(points_run: Project) -> None:
    assert points_run.repro() == []
    locks = {path.name for path in (points_run.data / "code").glob("*-points.json")}
    assert locks == {f"{kind}-points.json" for kind in ("dense_targets", "train_dense", "detect_dense", "evaluate")}
    assert yaml.safe_load((points_run.root / "params.yaml").read_text())["family"] == "points"


@pytest.mark.long
@pytest.mark.parametrize(
    ("module", "rerun"),
    [
        ("evaluate.py", ["evaluate_points"]),
        ("detect_dense.py", ["detect_points"]),
        ("train_dense.py", ["train_points"]),
        ("dense_targets.py", ["points_targets", "train_points"]),  # which has its assign
    ],
)
def test_an_edit_of_a_part_reruns_its_stage_alone_where_it_changes_no_result(
    points_run: Project, tmp_path: Path, module: str, rerun: list[str]
) -> None:
    project = Project(Path(shutil.copytree(points_run.root, tmp_path / "project", symlinks=True)))
    part = project.root / "pipeline/families/points" / module
    part.write_text(part.read_text() + "\n_NOT_USED = 1\n")
    assert project.repro() == rerun


@pytest.mark.long
def test_its_network_is_bundled_used_and_exported_by_the_command_line(points_run: Project, tmp_path: Path) -> None:
    def said(*words: str) -> str:
        result = points_run.run("frcnn", *words)
        assert result.returncode == 0, result.stderr
        return result.stdout

    bundle = str(tmp_path / "bundle")
    judged = json.loads((points_run.data / "evaluate_points/metrics.json").read_text())
    assert f"mAP@.5 {judged['mAP50']:.4f}" in said("bundle", "--out", bundle)
    photo = min((points_run.data / "dataset").rglob("test_*.*"))
    assert "in 1 photo" in said("predict", bundle, str(photo), "--out", str(tmp_path / "found"), "--device", "cpu")
    said("evaluate", bundle, "--data", "data/dataset", "--device", "cpu", "--out", str(tmp_path / "figures"))
    figures = json.loads((tmp_path / "figures/metrics.json").read_text())
    assert figures == {name: value for name, value in judged.items() if name != "centre_error"}
    assert "network for ONNX" in said("export", bundle, "--format", "onnx", "--out", str(tmp_path / "net.onnx"))
    for words in (["ablations"], ["proposals", "export", "out.pkl"]):
        refused = points_run.run("frcnn", *words)
        assert refused.returncode == 1 and refused.stderr.startswith("frcnn: error: Points: ")
        assert len(refused.stderr.splitlines()) == 1


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_it_ends_like_an_undisturbed_run(tmp_path: Path, points_run: Project, seed: int) -> None:
    """The kills fall into the stages that are the family's own."""
    project = that_forgot(points_run, STAGES[3:], tmp_path / "drill" / "project")
    assert set(drill(project, points_run, kills=8, seed=seed, first_after=4)) & set(STAGES[3:])


@pytest.mark.long
def test_with_its_preset_it_learns(tmp_path: Path) -> None:
    project = new_points_project(tmp_path / "project", {})
    project.repro()
    metrics = json.loads((project.data / "evaluate_points/metrics.json").read_text())
    assert metrics["mAP50"] > 0.5 and metrics["centre_error"] < 0.1

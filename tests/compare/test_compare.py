"""`frcnn compare`: detectors of several families, of one workspace, of several projects, of experiments."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.compare.command import compare
from pipeline.compare.rows import Row, comparable, rows_of
from pipeline.compare.sources import source_of, workspace
from pipeline.compare.training_stages import stages_before
from pipeline.runtime.errors import InputError
from pipeline.runtime.run_times import run_place
from tests.compare.projects import commit_experiment, judged, judged_project, lock, stored


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """See `judged_project`."""
    return judged_project(tmp_path / "run")


def test_the_judged_network_of_each_family_is_a_row_the_present_familys_first(project: Path) -> None:
    rows = rows_of(workspace(project))
    assert [row.name for row in rows] == [
        "Faster R-CNN, trained end to end",
        "Faster R-CNN: step 4 (shared)",
    ]
    assert [row.metrics["mAP50"] for row in rows] == [0.5, 0.25]
    everything = rows_of(workspace(project), every_network=True)
    assert [row.network for row in everything] == ["end to end", "step 4 (shared)", "joint"]


def index_of_detections(project: Path) -> None:
    """Ten images of two levels each; how many resize has now does not count."""
    index = project / "data/detect_end_to_end/images.parquet"
    index.parent.mkdir()
    pd.DataFrame({"image_id": [f"test_{i // 2}" for i in range(20)]}).to_parquet(index)


def test_costs_are_those_of_the_stages_that_the_network_came_from(project: Path) -> None:
    index_of_detections(project)
    row = rows_of(workspace(project))[0]
    assert row.weights == 2 * 3 + 5 + 4
    assert row.training_seconds == 120 + 30 + 6 and row.detection_seconds == 5.0 and row.memory_mb == 1200.0


def test_a_stage_whose_time_is_not_known_leaves_the_training_without_one(project: Path) -> None:
    run_place(project, "anchor_targets").unlink()
    row, other = rows_of(workspace(project))
    assert row.training_seconds is row.memory_mb is None
    assert other.training_seconds is other.memory_mb is other.weights is None


def test_stages_before_are_the_familys_own(project: Path) -> None:
    assert stages_before(project, "faster_rcnn_joint", "detect_end_to_end") == [
        "frozen_features",
        "anchor_targets",
        "train_end_to_end",
    ]
    of_step4 = stages_before(project, "faster_rcnn", "detect_step4")
    assert "train_head_step4" in of_step4 and "finetune_joint" not in of_step4 and "resize" not in of_step4
    assert stages_before(project, "faster_rcnn", "detect_of_none") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": "f" * 32}, "judged on another data set than"),
        ({"per_image": 50}, "judged by another evaluate.per_image (50, not 100)"),
    ],
)
def test_what_is_judged_otherwise_is_left_out_with_a_line(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr("pipeline.compare.command.compare_page", lambda *_: "")  # takes seconds
    lock(project, evaluate_end_to_end=judged("end_to_end"), evaluate_step4=judged("step4", **change))
    said: list[str] = []
    compare(project, [], tmp_path / "page.html", False, said.append)
    assert "Faster R-CNN: step 4" not in said[0] and words in said[1] and "left out" in said[1]


def test_a_detector_that_has_hardly_learnt_and_what_detection_is_the_time_of_are_said(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.compare.command.compare_page", lambda *_: "")  # takes seconds
    index_of_detections(project)
    file = project / "data/evaluate_step4/metrics.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "mAP50": 0.01}))
    said: list[str] = []
    compare(project, [], tmp_path / "page.html", False, said.append)
    (line,) = (line for line in said if line.startswith("hardly learnt"))
    assert line.startswith("hardly learnt (mAP@.5 below 0.05): Faster R-CNN: step 4 (shared); ")
    assert said[-2].startswith("detection: the time of the whole stage, its start included")


def test_other_keys_of_the_rule_do_not_count(project: Path) -> None:
    lock(project, evaluate_end_to_end=judged("end_to_end"), evaluate_step4=judged("step4", recall_proposals=1))
    kept, notes = comparable(rows_of(workspace(project)))
    assert len(kept) == 2 and not notes


def test_the_table_and_the_page_have_every_detector(project: Path, tmp_path: Path) -> None:
    said: list[str] = []
    compare(project, [], tmp_path / "page.html", True, said.append)
    table, page = said[0].splitlines(), (tmp_path / "page.html").read_text()
    assert len(table) == 4 and "mAP@.5" in table[0] and "2.6 min" in table[1] and "-1" not in said[0]
    for name in ("end to end", "step 4", "joint"):
        assert name in said[0] and name in page
    assert page.count('class="chart"') == 2 and "http-equiv" in page


def test_projects_are_named_in_their_rows(project: Path, tmp_path: Path) -> None:
    rows = rows_of(source_of(tmp_path, str(project)))
    assert rows[0].name == f"{project}, Faster R-CNN, trained end to end"


def test_a_network_of_its_familys_name_is_not_named_twice() -> None:
    assert Row("", "RetinaNet", "RetinaNet", {}, "", ()).name == "RetinaNet"


def test_an_experiment_is_read_from_the_cache(project: Path) -> None:
    (project / "params.yaml").write_text("family: faster_rcnn\n")
    entry, file = judged("step4"), project / "data/evaluate_step4/metrics.json"
    digest = hashlib.md5(file.read_bytes()).hexdigest()
    entry["outs"][0]["md5"] = digest
    lock(project, evaluate_step4=entry, evaluate_end_to_end=judged("end_to_end"))
    commit_experiment(project, "tried")
    lock(project)
    file.rename(stored(project, digest))
    rows = rows_of(source_of(project, "tried"))
    assert [row.name for row in rows] == ["tried, Faster R-CNN: step 4 (shared)"] and rows[0].metrics["mAP50"] == 0.25


def test_what_cannot_be_compared_ends_in_a_line(project: Path, tmp_path: Path) -> None:
    def fails(words: str, names: list[str], out: Path) -> None:
        with pytest.raises(InputError, match=words):
            compare(project, names, out, False, lambda _: None)

    fails("its folder does not exist", [], tmp_path / "none/page.html")
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    fails("neither a project's folder", ["nothing"], tmp_path / "page.html")
    (project / "data/evaluate_end_to_end/metrics.json").write_text("{")
    fails("metrics.json: cannot be compared", [], tmp_path / "page.html")
    lock(project)
    fails("nothing is judged yet", [], tmp_path / "page.html")

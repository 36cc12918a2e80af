"""`frcnn compare` of projects and experiments with damaged files: a line that names the file, or an empty cell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline.compare.command import compare
from pipeline.compare.rows import rows_of
from pipeline.compare.sources import workspace
from pipeline.runtime.errors import InputError
from pipeline.runtime.run_times import run_place
from tests.compare.projects import commit_experiment, judged, judged_project, lock, stored


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return judged_project(tmp_path_factory.mktemp("compare") / "run")


@pytest.fixture
def project(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def fault(project: Path, *names: str) -> str:
    """What the command ends with."""
    with pytest.raises(InputError) as caught:
        compare(project, names, project / "page.html", False, lambda _: None)
    return str(caught.value)


@pytest.mark.parametrize("text", ["[1]", '"x"', "{", "[" * 100_000, json.dumps({"AP": 0.5, "class_AP50": [1]})])
def test_metrics_that_are_none(project: Path, text: str) -> None:
    (project / "data/evaluate_end_to_end/metrics.json").write_text(text)
    assert fault(project).startswith("data/evaluate_end_to_end/metrics.json: cannot be compared")
    assert fault(project, str(project)).startswith(f"{project}: data/evaluate_end_to_end/metrics.json")


@pytest.mark.parametrize("change", [{"params": {}}, {"params": None}, {"deps": None}, {"deps": []}])
def test_an_entry_of_the_lock_that_is_not_whole(project: Path, change: dict[str, object]) -> None:
    lock(project, evaluate_end_to_end={**judged("end_to_end"), **change})
    assert "cannot be compared" in fault(project)


@pytest.mark.parametrize(
    "content", [b"", b"x" * 100, b"\4" + bytes(7) + b"[1] ", b"\x1c" + bytes(7) + b'{"trunk.a": {"shape": "ab"}}']
)
def test_weights_that_cannot_be_read_are_not_counted(project: Path, content: bytes) -> None:
    (project / "data/train_end_to_end/model.safetensors").write_bytes(content)
    assert rows_of(workspace(project))[0].weights is None


@pytest.mark.parametrize(
    "text", ["stages: x", "stages: {detect_end_to_end: x}", "stages: {detect_end_to_end: {deps: 5, outs: 3}}", "[1]"]
)
def test_a_graph_that_is_none_leaves_the_costs_empty(project: Path, text: str) -> None:
    (project / "graphs/faster_rcnn_joint.yaml").write_text(text)
    row = rows_of(workspace(project))[0]
    assert row.training_seconds is row.memory_mb is None and row.detection_seconds is None


@pytest.mark.parametrize("seconds", ["x", None, [1]])
def test_a_time_that_is_no_number_is_none(project: Path, seconds: object) -> None:
    note = {"started": 0.0, "seconds": seconds, "peak_mb": 1.0}
    run_place(project, "train_end_to_end").write_text(json.dumps(note))
    assert rows_of(workspace(project))[0].training_seconds is None


def test_a_run_without_results_among_others_is_named(project: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(project, other)
    lock(other)
    assert fault(project, str(project), str(other)).startswith(f"{other}: nothing is judged yet")


def test_outside_git_a_name_is_no_experiment(project: Path) -> None:
    assert "nothing: is neither a project's folder" in fault(project, "nothing")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("dvc.lock", ""),
        ("dvc.lock", "[1]"),
        ("dvc.lock", "stages:"),
        ("dvc.lock", "stages: {a: x}"),
        ("dvc.lock", "stages: {a: {outs: [{md5: x}]}}"),
        ("params.yaml", "[1]"),
    ],
)
def test_an_experiment_with_damaged_files(project: Path, file: str, text: str) -> None:
    whole = (project / file).read_text()
    (project / file).write_text(text)
    commit_experiment(project, "tried")
    (project / file).write_text(whole)
    assert fault(project, "tried").startswith(f"{file} of tried: is ")


@pytest.mark.parametrize(
    ("listing", "words"), [("x", "is damaged"), ('{"a": 1}', "is damaged"), ("[]", "no longer in DVC's cache")]
)
def test_an_experiment_whose_stored_folder_is_damaged(project: Path, listing: str, words: str) -> None:
    entry, digest = judged("step4"), "ab" + "c" * 30 + ".dir"
    entry["outs"] = [{"path": "data/evaluate_step4", "md5": digest}]
    lock(project, evaluate_step4=entry)
    (project / "params.yaml").write_text("family: faster_rcnn\n")
    commit_experiment(project, "tried")
    stored(project, digest).write_text(listing)
    assert words in fault(project, "tried")

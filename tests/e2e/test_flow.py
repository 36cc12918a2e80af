"""The graph run by the flow: the same lock as DVC's own, and what its pages have to show."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.orchestrate.record import read_record
from tests.conftest import TINY, Project, new_project, that_forgot

FORGOTTEN = ("finetune_joint", "detect_joint", "evaluate_step2", "evaluate_joint")
"""What the flow runs: a training, what follows from it, and a stage beside it. All others are up to date."""


@dataclass
class FlowRun:
    """A project, the address of its Prefect server, and what the first flow printed."""

    project: Project
    server: str
    output: str

    def flow(self) -> str:
        """Run the flow again; what it printed."""
        return run_flow(self.project)

    def ask(self, what: str, **body: Any) -> Any:
        """The answer of Prefect's API to a filter."""
        request = urllib.request.Request(
            f"{self.server}/api/{what}/filter",
            data=json.dumps({"limit": 200, **body}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


def environment_of(project: Project) -> dict[str, str]:
    """Without settings of Prefect that stand around, as a user's shell."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**inherited, "PYTHONPATH": str(project.root)}


def run_flow(project: Project) -> str:
    """Run `frcnn flow` to its good end; what it printed."""
    result = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "flow"],
        cwd=project.root,
        env=environment_of(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope="module")
def first_flow(tiny_run: Project, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowRun]:
    """The tiny graph, some of its stages run by the flow, its pages open."""
    project = that_forgot(tiny_run, FORGOTTEN, tmp_path_factory.mktemp("flow") / "project")
    shutil.copytree(prefect_home, project.root / ".prefect")
    pages = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "ui"],
        cwd=project.root,
        env=environment_of(project),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert pages.stdout is not None
    try:
        server = pages.stdout.readline().split()[0]
        # Newer than any dvc.lock: no flow renews it, which takes it a quarter of a minute.
        (project.root / "report.html").touch()
        os.utime(project.root / "report.html", (2**31, 2**31))
        output = run_flow(project)
        yield FlowRun(project, server, output)
    finally:
        pages.terminate()
        pages.communicate()


def test_the_lock_is_that_of_repro(first_flow: FlowRun, tiny_run: Project) -> None:
    assert first_flow.project.lock() == tiny_run.lock()
    assert first_flow.project.repro() == []


@pytest.mark.long
def test_from_nothing_the_lock_is_that_of_repro_too(tiny_run: Project, tmp_path: Path) -> None:
    project = new_project(tmp_path / "project", TINY)
    output = run_flow(project)
    assert project.lock() == tiny_run.lock()
    assert (project.root / "report.html").is_file() and "report: " in output


@pytest.mark.long
def test_an_edit_reruns_what_it_must_and_where_all_is_locked_stage_code_does_not_run(
    tiny_run: Project, prefect_home: Path, tmp_path: Path
) -> None:
    project = Project(Path(shutil.copytree(tiny_run.root, tmp_path / "a project", symlinks=True)))
    shutil.copytree(prefect_home, project.root / ".prefect")
    (project.root / "report.html").touch()
    os.utime(project.root / "report.html", (2**31, 2**31))  # no flow renews it
    reader, lock = project.root / "pipeline/datasets/voc.py", project.data / "code/dataset.json"
    before = lock.lstat()
    reader.write_text(f"{reader.read_text()}# A comment.\n")
    run_flow(project)
    assert {record.state for record in read_record(project.root)[1].values()} == {"cached"}
    assert lock.lstat().st_ino == before.st_ino and lock.lstat().st_mtime_ns == before.st_mtime_ns
    reader.write_text(f"{reader.read_text()}A = 1\n")
    run_flow(project)
    records = read_record(project.root)[1]
    assert [name for name, record in records.items() if record.state != "cached"] == ["dataset"]
    assert project.lock()["dataset"] != tiny_run.lock()["dataset"]
    assert project.repro() == []


def test_each_stage_is_a_task_named_by_its_step(first_flow: FlowRun) -> None:
    names = {run["name"] for run in first_flow.ask("task_runs")}
    assert len(names) == 21
    assert "data: Resize the images and scale their boxes (resize)" in names
    assert "step 1: Train the RPN, with a trunk of its own (train_rpn_step1)" in names
    by_step = [name.split(":")[0] for name in names]
    assert {step: by_step.count(step) for step in by_step} == {
        "data": 5,
        "step 1": 2,
        "step 2": 2,
        "step 3": 3,
        "step 4": 2,
        "joint": 1,
        "evaluation": 6,
    }


def test_every_stage_leaves_figures_and_a_picture_and_the_flow_a_summary(first_flow: FlowRun) -> None:
    artifacts = {artifact["key"]: artifact for artifact in first_flow.ask("artifacts")}
    for stage in FORGOTTEN:
        key = stage.replace("_", "-")
        text = artifacts[f"{key}-picture"]["data"]
        assert 0 < text.index("](data:image/") < text.index("| figure | value |")
    text = artifacts["summary"]["data"]
    assert text.startswith("21 stages in ") and "| step 4 (shared) |" in text and "| joint | finetune_joint |" in text
    assert text in first_flow.output


def test_the_lines_of_a_stage_are_its_tasks_log(first_flow: FlowRun) -> None:
    [task] = first_flow.ask(
        "task_runs",
        task_runs={"name": {"any_": ["evaluation: Judge the detections, after joint training (evaluate_joint)"]}},
    )
    lines = [line["message"] for line in first_flow.ask("logs", logs={"task_run_id": {"any_": [task["id"]]}})]
    assert any(line.startswith("mAP@.5 ") for line in lines)
    assert not any("git add" in line for line in lines)


def test_what_is_up_to_date_starts_no_process_and_is_shown_as_cached(first_flow: FlowRun) -> None:
    output = first_flow.flow()
    _, records = read_record(first_flow.project.root)
    assert [(record.state, record.attempts) for record in records.values()] == [("cached", 0)] * 21
    assert output.count("Finished in state Cached('up to date'") == 21


@pytest.mark.long
def test_a_changed_parameter_reruns_what_depends_on_it_only_and_an_equal_output_nothing(first_flow: FlowRun) -> None:
    first_flow.project.set_params({"evaluate": {"recall_proposals": 40}})
    module = Path(first_flow.project.root / "stages/dataset.py")
    module.write_text(module.read_text() + "\nUNUSED = 1\n")
    module = Path(first_flow.project.root / "stages/resize.py")
    module.write_text(module.read_text() + "\n# Another comment.\n")
    first_flow.flow()
    _, records = read_record(first_flow.project.root)
    ran = {"dataset", "evaluate_step2", "evaluate_step4", "evaluate_joint"}
    assert {name for name, record in records.items() if record.state == "completed"} == ran
    assert {name for name, record in records.items() if record.attempts} == ran


@pytest.mark.long
def test_what_dvc_has_in_its_cache_comes_from_there(first_flow: FlowRun) -> None:
    first_flow.project.set_params({"evaluate": {"recall_proposals": 30}})
    first_flow.flow()
    first_flow.project.set_params({"evaluate": {"recall_proposals": 40}})
    output = first_flow.flow()
    assert output.count("Finished in state Cached('from DVC'") == 3


def test_a_bad_parameter_fails_the_flow_in_one_line(first_flow: FlowRun) -> None:
    good = (first_flow.project.root / "params.yaml").read_text()
    first_flow.project.set_params({"evaluate": {"recall_proposals": -1}})
    try:
        result = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", "flow"],
            cwd=first_flow.project.root,
            env=environment_of(first_flow.project),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        (first_flow.project.root / "params.yaml").write_text(good)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith("frcnn: error: ") and "params.yaml: parameter evaluate.recall_proposals" in last
    assert "Traceback" not in result.stdout + result.stderr

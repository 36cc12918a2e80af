"""Code that changes before or while a stage runs: nothing is filed under code that did not compute it.

The stages run in the process of the tests, on the project's copy of the code, in which a test edits a module at some
moment.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.training.checkpoints import Checkpoints
from tests.conftest import Project
from tests.faults.code_edits import (
    AT_ONCE,
    IN_CHUNKS,
    MODULES,
    TRAINS,
    before_publishing,
    copy_of,
    edit,
    left_of,
    lock_anew,
    put_back,
    run,
)
from tests.fidelity.conftest import files_of
from tests.in_process import run_frcnn


@pytest.fixture
def project(tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return copy_of(tiny_run, tmp_path / "a project", monkeypatch)


@pytest.mark.parametrize("stage", [TRAINS, IN_CHUNKS, AT_ONCE])
def test_an_edit_between_stage_code_and_the_stage_stops_it_before_it_does_anything(
    project: Project, stage: str
) -> None:
    shutil.rmtree(project.data / stage)
    edit(project, MODULES[stage])
    ended = run(project, stage)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"{stage}: error: the code changed after its lock was made ({MODULES[stage]}); run dvc repro\n"
    )
    assert not (project.data / stage).exists() and left_of(project, stage) == []


@pytest.mark.parametrize("stage", [TRAINS, IN_CHUNKS, AT_ONCE])
def test_an_edit_while_a_stage_runs_keeps_its_work_which_resumes_when_the_edit_is_put_back(
    project: Project, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(project.data / stage)
    shutil.rmtree(project.data / stage)
    before_publishing(monkeypatch, lambda: edit(project, MODULES[stage]))
    ended = run(project, stage)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"{stage}: error: the code changed while it ran ({MODULES[stage]}), so its result is not kept; undo the edit "
        "and rerun, which resumes where the stage keeps states, or run dvc repro, which starts anew"
    )
    assert not (project.data / stage).exists()
    assert bool(left_of(project, stage)) == (stage != AT_ONCE)
    put_back(project, MODULES[stage])
    again = run(project, stage)
    assert again.returncode == 0, again.stderr
    assert ("resumes " in again.stderr) == (stage != AT_ONCE)
    assert files_of(project.data / stage) == files
    assert left_of(project, stage) == []


@pytest.mark.parametrize("stage", [TRAINS, IN_CHUNKS])
def test_an_edit_that_is_locked_starts_anew(project: Project, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before_publishing(monkeypatch, lambda: edit(project, MODULES[stage]))
    earlier = files_of(project.data / stage)
    assert run(project, stage).returncode == 1
    assert files_of(project.data / stage) == earlier, "what was there before stays"
    lock_anew(project)
    again = run(project, stage)
    assert again.returncode == 0, again.stderr
    assert "resumes" not in again.stderr
    assert files_of(project.data / stage) == earlier, "the edit changes nothing"
    assert left_of(project, stage) == []


def test_a_comment_during_a_stopped_training_lets_it_resume_with_the_same_bytes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(project.data / TRAINS)
    shutil.rmtree(project.data / TRAINS)
    real = Checkpoints.is_due

    def stop(self: Checkpoints, iteration: int) -> bool:
        if iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, iteration)

    with monkeypatch.context() as stopping:
        stopping.setattr(Checkpoints, "is_due", stop)
        assert run(project, TRAINS).returncode == 143
    edit(project, MODULES[TRAINS], "# A comment.\n")
    lock_anew(project)
    again = run(project, TRAINS)
    assert again.returncode == 0, again.stderr
    assert "resumes from iteration" in again.stderr
    assert files_of(project.data / TRAINS) == files


def test_a_result_is_not_filed_under_a_lock_that_was_written_while_the_stage_ran(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lock_and_put_back() -> None:
        edit(project, MODULES[IN_CHUNKS])
        lock_anew(project)
        put_back(project, MODULES[IN_CHUNKS])

    before_publishing(monkeypatch, lock_and_put_back)
    ended = run(project, IN_CHUNKS)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "resize: error: data/code/resize.json: changed while it ran, so its result is not kept; run dvc repro"
    )


def test_a_comment_while_a_stage_runs_changes_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before_publishing(monkeypatch, lambda: edit(project, MODULES[IN_CHUNKS], "# A comment.\n"))
    assert run(project, IN_CHUNKS).returncode == 0


@pytest.fixture
def waiting(project: Project) -> Project:
    """A project whose `dataset` is to run, and waits in the midst of it until someone has opened a FIFO."""
    os.mkfifo(project.root / "waits")
    path = project.root / "stages/dataset.py"
    head, docstring, rest = path.read_text().partition("def dataset(stage: Stage) -> None:\n")
    path.write_text(f'{head}{docstring}    open("waits").read()\n{rest}')
    return project


def start(project: Project, *command: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project.root),
        "DVC_NO_ANALYTICS": "1",
    }
    return subprocess.Popen(
        command, cwd=project.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # of dvc, in pygtrie
def test_with_an_edit_while_dvc_runs_a_stage_nothing_is_filed_and_others_are_told_of_the_run(waiting: Project) -> None:
    lock = waiting.lock()
    dvc = start(waiting, "dvc", "repro", "dataset")
    with open(waiting.root / "waits", "w"):  # opens when the stage does
        status = run_frcnn(waiting.root, "status")
        second = waiting.run("dvc", "repro", "backbone")  # which reads nothing of it
        edit(waiting, MODULES[AT_ONCE])
    output, _ = dvc.communicate()
    assert status.returncode == 0, status.stderr
    assert re.search(rf"^dataset +runs now \(process {dvc.pid}\)$", status.stdout, re.MULTILINE)
    assert second.returncode != 0
    assert re.search(r"data/code/\w+\.json' is busy, it is being blocked by", second.stderr)
    assert dvc.returncode != 0
    said = [line for line in output.splitlines() if line.startswith("dataset: ")]
    assert said[-1].startswith("dataset: error: the code changed while it ran (pipeline/datasets/voc.py), so its")
    assert "Traceback" not in output
    assert waiting.lock()["dataset"] == lock["dataset"]
    assert not (waiting.data / "dataset").exists()
    again = start(waiting, "dvc", "repro", "dataset")
    with open(waiting.root / "waits", "w"):
        pass
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert waiting.lock()["dataset"]["outs"] == lock["dataset"]["outs"]


def test_an_edit_between_stage_code_and_a_stage_of_one_dvc_repro_leaves_dvc_lock_as_it_is(
    project: Project, tmp_path: Path
) -> None:
    lock = project.lock()
    programs = tmp_path / "bin"
    programs.mkdir()
    edits = f"[ \"$2\" = stages.dataset ] && echo 'B = 2' >> '{project.root / MODULES[AT_ONCE]}'"
    (programs / "python").write_text(f"#!/bin/sh\n{edits}\nexec '{sys.executable}' \"$@\"\n")
    (programs / "python").chmod(0o755)
    edit(project, MODULES[AT_ONCE])
    result = project.run("dvc", "repro", "dataset", programs=programs)
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("dataset: ")]
    assert line == "dataset: error: the code changed after its lock was made (pipeline/datasets/voc.py); run dvc repro"
    assert project.lock()["dataset"] == lock["dataset"]

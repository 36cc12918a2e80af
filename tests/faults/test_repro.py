"""`dvc repro` and `frcnn repro`: killed, torn, and two at once in one workspace."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.runtime.variables import EVERY_ITERATIONS
from tests.conftest import Project
from tests.faults.at_rename import signal_at_rename
from tests.faults.processes import has_ended, until
from tests.fidelity.conftest import files_of
from tests.in_process import run_stage

STAGE = "train_rpn_step1"
FRCNN = (sys.executable, "-m", "pipeline.cli")


@pytest.fixture
def project(tiny_run: Project, tmp_path: Path) -> Project:
    shutil.copytree(tiny_run.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


@pytest.fixture(scope="module")
def to_train(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Everything before the first training stage is done, and that stage changed. Copy it."""
    project = Project(tmp_path_factory.mktemp("to_train") / "project")
    shutil.copytree(tiny_run.root, project.root, symlinks=True)
    project.set_params({STAGE: {"iterations": 20, "lr_drop_at": [19]}})
    return project


@pytest.fixture(scope="module")
def trained(to_train: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What it leaves when nobody disturbs it."""
    return files_of(run_stage(STAGE, to_train.root, tmp_path_factory.mktemp("trained") / STAGE))


def start(project: Project, *command: str, shell: str = "/bin/bash") -> subprocess.Popen[str]:
    """A run whose stage, started by `shell`, stops itself when it has kept its first training state."""
    site = project.root.parent / "site"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "SHELL": shell,
        EVERY_ITERATIONS: "5",
        **signal_at_rename(site, project.root, "after", "state-*.json", signal.SIGSTOP),
    }
    return subprocess.Popen(
        command, cwd=project.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def stage_of(project: Project, dvc: subprocess.Popen[str]) -> psutil.Process:
    """The process of the stage that trains, once it has stopped."""

    def find() -> psutil.Process | None:
        assert dvc.poll() is None, dvc.communicate()[0]
        for child in psutil.Process(dvc.pid).children(recursive=True):
            with suppress(psutil.Error):  # others come and go
                if "stages.train_rpn" in child.cmdline() and child.status() == psutil.STATUS_STOPPED:
                    return child
        return None

    return until(find, "the stage does not start")


@pytest.fixture
def training(to_train: Project, tmp_path: Path) -> Project:
    shutil.copytree(to_train.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def test_torn_files_of_dvc_are_mended_and_nothing_runs_again(project: Project, tiny_run: Project) -> None:
    lock = project.root / "dvc.lock"
    text = lock.read_text()
    lock.write_text(text[: text.index("md5: ", len(text) * 9 // 10) + 12])
    (project.root / ".dvc/tmp/rwlock").write_text('{"write": {"/da')
    assert project.run("dvc", "repro").returncode != 0
    result = project.run(*FRCNN, "repro")
    assert result.returncode == 0, result.stderr
    assert "dvc.lock was torn by a killed dvc" in result.stderr
    assert result.stdout.count("Running stage") == result.stdout.count("Running stage 'code'") == 1
    assert project.lock() == tiny_run.lock()


def _shell_that_stays(folder: Path) -> str:
    """Some shells wait for their only command, others give it their place: one that waits on any machine."""
    shell = folder / "sh"
    shell.write_text('#!/bin/sh\neval "$2"\nexit $?\n')
    shell.chmod(0o755)
    return str(shell)


@pytest.mark.long
@pytest.mark.parametrize("stays", [True, False])
def test_with_dvc_killed_the_stage_ends_too_and_the_next_goes_on(
    training: Project, trained: dict[str, bytes], tmp_path: Path, stays: bool
) -> None:
    dvc = start(training, "dvc", "repro", STAGE, shell=_shell_that_stays(tmp_path) if stays else "/bin/bash")
    stage = stage_of(training, dvc)
    dvc.kill()
    dvc.wait()  # a stage resumed before its parent is gone could still end well
    stage.resume()
    until(lambda: has_ended(stage), "the stage goes on alone")
    dvc.communicate()
    assert not (training.data / STAGE).exists()
    again = training.run("dvc", "repro", STAGE)
    assert again.returncode == 0, again.stderr
    assert "resumes from iteration" in again.stderr
    assert files_of(training.data / STAGE) == trained


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_second_run_says_why_it_does_not_start_and_the_first_goes_on_after_a_stop(
    training: Project, trained: dict[str, bytes], number: signal.Signals
) -> None:
    first = start(training, *FRCNN, "repro", STAGE)
    stage = stage_of(training, first)
    written = training.data / f".{STAGE}.partial"
    before = (written.stat().st_ino, sorted(path.name for path in written.rglob("*")))
    ours = training.run(*FRCNN, "repro", STAGE)
    assert ours.returncode == 1
    assert ours.stderr == (
        f"frcnn: error: another run (process {first.pid}) is at work in this workspace; wait for it, or stop it\n"
    )
    plain = training.run("dvc", "repro", STAGE)
    assert plain.returncode != 0
    assert f"(PID {first.pid}): " in plain.stderr and "is busy, it is being blocked by" in plain.stderr
    by_hand = training.run(*filter(None, stage.cmdline()))
    assert by_hand.returncode == 1
    assert by_hand.stderr.splitlines()[-1].endswith("another process is writing it; wait for it, or stop it")
    assert (written.stat().st_ino, sorted(path.name for path in written.rglob("*"))) == before
    # As a terminal or a scheduler sends it: to all.
    stage.send_signal(number)
    first.send_signal(number)
    stage.resume()
    output, _ = first.communicate()
    assert first.returncode == (130 if number == signal.SIGINT else -number)  # SIGTERM ends DVC itself
    assert "Traceback" not in output
    assert "resumes" in output
    again = training.run(*FRCNN, "repro", STAGE)
    assert again.returncode == 0, again.stderr
    assert "resumes from iteration" in again.stderr
    assert files_of(training.data / STAGE) == trained

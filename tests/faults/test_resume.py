"""Training stages killed as real processes: the next run goes on and leaves the bytes of one that was never killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.runtime.variables import EVERY_ITERATIONS, LOADERS
from tests.conftest import Project

ITERATIONS = 40


@pytest.fixture(scope="module")
def undisturbed(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny run with a longer step 1, trained without a stop."""
    root = tmp_path_factory.mktemp("undisturbed") / "project"
    shutil.copytree(tiny_run.root, root, symlinks=True)
    project = Project(root)
    project.set_params({"train_rpn_step1": {"iterations": ITERATIONS, "lr_drop_at": [ITERATIONS - 1]}})
    result = project.run("dvc", "repro", "train_rpn_step1")
    assert result.returncode == 0, result.stderr
    return project


def killed(project: Project, number: int, when: Callable[[], bool]) -> tuple[int, str]:
    """Run `dvc repro train_rpn_step1` and send a signal as soon as `when`; the status and what was said."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project.root),
        EVERY_ITERATIONS: "5",
    }
    process = subprocess.Popen(
        ["dvc", "repro", "train_rpn_step1"],
        cwd=project.root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while not when():
        assert process.poll() is None, process.communicate()[0]
    os.killpg(process.pid, number)
    return process.wait(), process.communicate()[0]


def copy_to_train(undisturbed: Project, tmp_path: Path) -> Project:
    """A copy in which step 1 is not trained yet, and DVC's cache does not know the result."""
    shutil.copytree(undisturbed.root, tmp_path / "copy", symlinks=True)
    project = Project(tmp_path / "copy")
    shutil.rmtree(project.data / "train_rpn_step1")
    shutil.rmtree(project.root / ".dvc/cache")
    lock = project.root / "dvc.lock"
    head, _, rest = lock.read_text().partition("  train_rpn_step1:\n")
    following = [line for line in rest.splitlines(keepends=True)]
    end = next(i for i, line in enumerate(following) if line.startswith("  ") and not line.startswith("   "))
    lock.write_text(head + "".join(following[end:]))
    return project


def has_state(project: Project, count: int) -> Callable[[], bool]:
    states = project.root / ".dvc/tmp/frcnn/scratch/train_rpn_step1/checkpoints"
    return lambda: len(list(states.glob(f"*/state-*{count * 5:02d}.json"))) > 0


@pytest.mark.long
@pytest.mark.parametrize("kills", [(1, 4), (2,)])
def test_a_training_killed_between_states_leaves_the_bytes_of_an_undisturbed_one(
    undisturbed: Project, tmp_path: Path, kills: tuple[int, ...]
) -> None:
    project = copy_to_train(undisturbed, tmp_path)
    for count in kills:
        killed(project, signal.SIGKILL, has_state(project, count))
        assert not (project.data / "train_rpn_step1").exists()
    result = project.run("dvc", "repro", "train_rpn_step1")
    assert result.returncode == 0, result.stderr
    assert "resumes from iteration " in result.stderr
    assert project.lock()["train_rpn_step1"] == undisturbed.lock()["train_rpn_step1"]
    assert not list((project.root / ".dvc/tmp/frcnn/scratch").iterdir())


@pytest.mark.long
def test_after_a_change_it_starts_afresh(undisturbed: Project, tmp_path: Path) -> None:
    project = copy_to_train(undisturbed, tmp_path)
    killed(project, signal.SIGKILL, has_state(project, 2))
    project.set_params({"train_rpn_step1": {"lr": 0.01}})
    result = project.run("dvc", "repro", "train_rpn_step1")
    assert result.returncode == 0 and "resumes" not in result.stderr
    assert project.lock()["train_rpn_step1"] != undisturbed.lock()["train_rpn_step1"]


@pytest.mark.long
@pytest.mark.parametrize("loaders", ["0", "2"])
def test_on_sigterm_it_keeps_its_state_and_says_so_in_one_line(
    undisturbed: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaders: str
) -> None:
    monkeypatch.setenv(LOADERS, loaders)
    project = copy_to_train(undisturbed, tmp_path)
    _, said = killed(project, signal.SIGTERM, has_state(project, 1))
    assert "train_rpn_step1: stopped by SIGTERM; the next run resumes from what is complete" in said
    assert "Traceback" not in said
    result = project.run("dvc", "repro", "train_rpn_step1")
    assert "resumes from iteration" in result.stderr
    assert project.lock()["train_rpn_step1"] == undisturbed.lock()["train_rpn_step1"]

"""Code that changes while a stage runs in several processes: as in a single one, comments do not count, and what was
done before an edit is kept until it is undone."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.graphs.present import graph_locks
from pipeline.runtime.variables import PROCESSES
from tests.conftest import TINY, Project, apply_overlay, made_once, new_project
from tests.fidelity.conftest import files_of
from tests.in_process import run_stages, words_of

MODULE = "pipeline/artifacts/chunks.py"
BEFORE, WITHIN = ("before",), ("within-0", "within-1")
"""FIFOs: the stage waits for the first one before it starts its processes, each of these for its own."""

IMAGES = {"dataset": {"shapes": {"train": 50, "test": 20}}}  # five chunks of at most 16


def insert(path: Path, before: str, line: str) -> None:
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, f"{line}\n{before}"))


@pytest.fixture(scope="module", params=["forked", "anew"])
def resized(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A project with its images resized, whose stage waits for FIFOs, and whose processes start in one of two ways."""
    forks = request.param == "forked"

    def make(folder: Path) -> None:
        project = new_project(folder, apply_overlay(copy.deepcopy(TINY), IMAGES))
        run_stages(project.root, "dataset", "resize")
        insert(project.root / "pipeline/runtime/processes.py", "    task = Task.of(", "    open('before').read()")
        insert(
            project.root / "stages/resize.py",
            "    cv2.setNumThreads(",
            "    if stage.share.is_part:\n        open(f'within-{stage.share.number}').read()",
        )
        if not forks:
            can_fork = '    return sys.platform == "linux" and'
            insert(project.root / "pipeline/runtime/process_start.py", can_fork, "    return False")
        for name, lock in graph_locks(project.root).items():
            (project.data / f"code/{name}.json").write_text(lock.text())
        for name in (*BEFORE, *WITHIN):
            os.mkfifo(project.root / name)

    return made_once(tmp_path_factory, f"resized_and_waiting_{request.param}", make)


@pytest.fixture
def project(resized: Path, tmp_path: Path) -> Project:
    root = Path(shutil.copytree(resized, tmp_path / "project", symlinks=True, copy_function=_copy))
    for name in (*BEFORE, *WITHIN):
        os.mkfifo(root / name)
    return Project(root)


def _copy(source: str, target: str) -> None:
    if not Path(source).is_fifo():
        shutil.copy2(source, target)


def run(project: Project, acts: dict[tuple[str, ...], Callable[[], object]]) -> tuple[int, list[str]]:
    """Run the stage in two processes and act while it, or they, wait; the status, and the lines that it printed."""
    stage = subprocess.Popen(
        [sys.executable, "-m", *words_of(project.root, "resize")],
        cwd=project.root,
        env={**os.environ, PROCESSES: "2", "PYTHONPATH": str(project.root)},
        stderr=subprocess.PIPE,
        text=True,
    )
    for names, act in acts.items():
        with ExitStack() as readers:
            for name in names:
                readers.enter_context(open(project.root / name, "w"))  # opens when its reader does
            act()
    _, said = stage.communicate()
    return stage.returncode, said.splitlines()


def nothing() -> None:
    """In place of an edit."""


def append(project: Project, text: str) -> Callable[[], object]:
    path = project.root / MODULE
    return lambda: path.write_text(path.read_text() + text)


def undo(project: Project) -> None:
    path = project.root / MODULE
    path.write_text(path.read_text().removesuffix("A = 1\n"))


def test_comments_change_nothing(project: Project) -> None:
    files = files_of(project.data / "resize")
    shutil.rmtree(project.data / "resize")
    comment = append(project, "# A comment.\n")
    status, said = run(project, {BEFORE: comment, WITHIN: comment})
    assert status == 0, said
    assert files_of(project.data / "resize") == files


def test_an_edit_keeps_the_chunks_after_which_the_run_resumes_when_it_is_undone(project: Project) -> None:
    files = files_of(project.data / "resize")
    shutil.rmtree(project.data / "resize")
    status, said = run(project, {BEFORE: nothing, WITHIN: append(project, "A = 1\n")})
    assert status == 1
    assert said[-1] == (
        f"resize: error: the code changed while it ran ({MODULE}), so its result is not kept; undo the edit and rerun, "
        "which resumes where the stage keeps states, or run dvc repro, which starts anew"
    )
    undo(project)
    status, said = run(project, {BEFORE: nothing, WITHIN: nothing})
    assert status == 0, said
    assert any(line.startswith("resize: resumes after ") for line in said)
    assert files_of(project.data / "resize") == files


@pytest.mark.parametrize("resized", ["anew"], indirect=True)
def test_processes_that_would_run_other_code_than_the_stage_write_nothing(project: Project) -> None:
    shutil.rmtree(project.data / "resize")
    status, said = run(project, {BEFORE: append(project, "A = 1\n")})
    assert status == 1
    assert said[-1] == f"resize: error: the code changed after its lock was made ({MODULE}); run dvc repro"
    assert not list(project.data.glob(".resize.partial/*.npz")) and not (project.data / "resize").exists()

"""Stages of three kinds, run on a copy of a finished run, and edits of their code."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.graphs.present import graph_locks
from pipeline.runtime.variables import EVERY_ITERATIONS
from tests.conftest import Project
from tests.in_process import Ended, run_command, words_of

TRAINS, IN_CHUNKS, AT_ONCE = "train_rpn_step1", "resize", "dataset"
MODULES = {
    TRAINS: "pipeline/families/faster_rcnn/nn/rpn.py",
    IN_CHUNKS: "pipeline/artifacts/chunks.py",
    AT_ONCE: "pipeline/datasets/voc.py",
}
LIBRARY = {TRAINS: "torch", IN_CHUNKS: "cv2", AT_ONCE: "numpy"}


def copy_of(finished: Project, root: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of a finished run in `root`; `--code` locks are compared with its sources."""
    project = Project(Path(shutil.copytree(finished.root, root, symlinks=True)))
    monkeypatch.setattr("pipeline.runtime.own_code.__file__", str(project.root / "pipeline/runtime/own_code.py"))
    monkeypatch.setenv(EVERY_ITERATIONS, "1")
    return project


def run(project: Project, stage: str, **options: str) -> Ended:
    """Run a stage as dvc.yaml wires it, with other values of some options."""
    words = words_of(project.root, stage)
    for option, value in options.items():
        words[words.index(f"--{option}") + 1] = value
    return run_command(project.root, *words)


def edit(project: Project, module: str, text: str = "A = 1\n") -> None:
    assert (project.root / module).is_file()
    with (project.root / module).open("a") as file:
        file.write(text)


def put_back(project: Project, module: str) -> None:
    path = project.root / module
    path.write_text(path.read_text().removesuffix("A = 1\n"))


def lock_anew(project: Project) -> None:
    """What stage `code` does."""
    for name, lock in graph_locks(project.root).items():
        path = project.data / f"code/{name}.json"
        path.unlink()
        path.write_text(lock.text())


def before_publishing(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something once, when a stage has done all its work."""
    from pipeline.runtime import stage

    real = stage.write_manifest

    def write(*arguments: object) -> None:
        monkeypatch.setattr(stage, "write_manifest", real)
        act()
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "write_manifest", write)


def left_of(project: Project, stage: str) -> list[Path]:
    """What a run that was cut short has left to resume from."""
    scratch = project.root / ".dvc/tmp/frcnn/scratch" / stage
    return [*project.data.glob(f".{stage}.partial"), *(scratch.rglob("state-*.json") if scratch.exists() else ())]

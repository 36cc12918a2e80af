"""params.yaml edited while a stage runs: nothing is filed under values that it was not computed with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.params.changes import RunningParams
from pipeline.params.section import Count, Positive, Section
from pipeline.runtime.errors import ChangedMeanwhile
from pipeline.runtime.variables import EVERY_ITERATIONS
from tests.conftest import Project
from tests.faults.code_edits import AT_ONCE, IN_CHUNKS, TRAINS, before_publishing, left_of, run
from tests.fidelity.conftest import files_of

EDITS: dict[str, tuple[str, dict[str, Any]]] = {
    TRAINS: (f"{TRAINS}.iterations", {TRAINS: {"iterations": 7}}),
    IN_CHUNKS: ("resize.longer_side", {"resize": {"longer_side": 7000}}),
    AT_ONCE: ("dataset.shapes.train", {"dataset": {"shapes": {"train": 7}}}),
}


@pytest.fixture
def project(tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the finished run, in which trainings keep every state."""
    monkeypatch.setenv(EVERY_ITERATIONS, "1")
    return Project(Path(shutil.copytree(tiny_run.root, tmp_path / "project", symlinks=True)))


@pytest.mark.parametrize("stage", EDITS)
def test_an_edit_of_a_stages_sections_while_it_runs_keeps_its_work_which_resumes_when_it_is_put_back(
    project: Project, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, before = files_of(project.data / stage), (project.root / "params.yaml").read_text()
    before_publishing(monkeypatch, lambda: project.set_params(EDITS[stage][1]))
    ended = run(project, stage)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"{stage}: error: params.yaml changed while it ran ({EDITS[stage][0]}), so its result is not kept; undo the "
        "edit and rerun, which resumes where the stage keeps states, or run dvc repro, which starts anew"
    )
    assert files_of(project.data / stage) == files, "what was there before stays"
    assert bool(left_of(project, stage)) == (stage != AT_ONCE)
    (project.root / "params.yaml").write_text(before)
    again = run(project, stage)
    assert again.returncode == 0, again.stderr
    assert ("resumes " in again.stderr) == (stage != AT_ONCE)
    assert files_of(project.data / stage) == files and left_of(project, stage) == []


BEGAN = "family: toy\ntrain: {lr: 0.1, iterations: 160, lr_drop_at: [120]} # a comment\nother: {a: 1}\n"


def edited(old: str, new: str) -> Callable[[Path], object]:
    assert old in BEGAN
    return lambda path: path.write_text(BEGAN.replace(old, new))


class Toy(Section):
    """A section."""

    lr: Positive
    iterations: Count
    lr_drop_at: list[Count]


@pytest.fixture
def began(tmp_path: Path) -> tuple[RunningParams, Path]:
    path = tmp_path / "params.yaml"
    path.write_text(BEGAN)
    return RunningParams(path, {"train": Toy}, ["train"]), path


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (edited("160", "150"), "(train.iterations)"),
        (edited("[120]", "[110]"), "(train.lr_drop_at)"),
        (edited("lr: 0.1, iterations: 160", "lr: 0.2, iterations: 150"), "(train.lr, train.iterations)"),
        (edited("lr: 0.1, ", ""), "(train.lr)"),
        (edited("lr: 0.1, ", "lr: 0.1, more: 1, "), "(train.more)"),
        (lambda path: path.write_text("train:\n"), "(train)"),
        (lambda path: path.write_text("other: {a: 1}\n"), "(train)"),
        (lambda path: path.write_text("train: {lr: 1, iterations: 2, a: 3, b: 4, lr_drop_at: []}"), " and 2 more)"),
        (edited("{lr", "{{lr"), "params.yaml: not valid YAML"),
        (lambda path: path.write_text(""), "must hold one block per stage"),
        (lambda path: path.write_bytes(b"\xff"), "not valid YAML"),
        (Path.unlink, "params.yaml: no such file"),
    ],
)  # fmt: skip
def test_whatever_becomes_of_the_file_is_one_line(
    began: tuple[RunningParams, Path], edit: Callable[[Path], object], said: str
) -> None:
    running, path = began
    running.check()
    edit(path)
    with pytest.raises(ChangedMeanwhile, match=r"^[^\n]+ so its result is not kept; [^\n]+$") as error:
        running.check()
    assert said in str(error.value)


@pytest.mark.parametrize(
    "edit",
    [
        edited("# a comment", "# another one"),
        edited("{a: 1}", "{a: 2}"),
        edited("other: {a: 1}\n", ""),
        lambda path: path.write_text(yaml.safe_dump(yaml.safe_load(BEGAN), sort_keys=True)),
    ],
)
def test_comments_layout_and_other_sections_may_change(
    began: tuple[RunningParams, Path], edit: Callable[[Path], object]
) -> None:
    running, path = began
    edit(path)
    running.check()

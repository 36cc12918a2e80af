"""A stage and its code lock: one that is missing, damaged, another stage's, or of other code and libraries."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.runtime.own_code import own_code
from tests.conftest import Project
from tests.faults.code_edits import (
    AT_ONCE,
    IN_CHUNKS,
    LIBRARY,
    TRAINS,
    copy_of,
    edit,
    lock_anew,
    run,
)
from tests.fidelity.conftest import files_of
from tests.in_process import words_of


@pytest.fixture
def project(tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return copy_of(tiny_run, tmp_path / "a project", monkeypatch)


def change_lock(project: Project, name: str, change: Callable[[dict[str, dict[str, str]]], object]) -> None:
    path = project.data / f"code/{name}.json"
    lock = json.loads(path.read_text())
    change(lock)
    path.unlink()
    path.write_text(json.dumps(lock))


@pytest.mark.parametrize("stage", [TRAINS, IN_CHUNKS, AT_ONCE])
def test_another_version_of_a_library_is_refused_with_both(project: Project, stage: str) -> None:
    change_lock(
        project,
        words_of(project.root, stage)[0].removeprefix("stages."),
        lambda lock: lock["libraries"].update({LIBRARY[stage]: "0.1"}),
    )
    ended = run(project, stage)
    assert ended.returncode == 1
    said = rf"{stage}: error: the code changed after its lock was made \({LIBRARY[stage]} 0\.1 to [\w.]+\); run .*\n"
    assert re.fullmatch(said, ended.stderr)


def test_a_module_that_came_or_went_is_named(project: Project) -> None:
    change_lock(project, "resize", lambda lock: lock["modules"].pop("pipeline/artifacts/chunks.py"))
    assert "(pipeline/artifacts/chunks.py)" in run(project, IN_CHUNKS).stderr
    change_lock(project, "resize", lambda lock: lock["modules"].update({f"pipeline/gone{i}.py": "0" for i in range(5)}))
    said = run(project, IN_CHUNKS).stderr
    assert re.search(r"\(pipeline/artifacts/chunks\.py, pipeline/gone0\.py, pipeline/gone1\.py and 3 more\)", said)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, r"resize: error: data/code/resize\.json: no such code lock; run dvc repro code first\n"),
        ("", r"resize: error: data/code/resize\.json: is not a code lock; run dvc repro code first\n"),
        (
            '{"module": "stages.res',
            r"resize: error: data/code/resize\.json: is not a code lock; run dvc repro code first\n",
        ),
        ("[1]", r"resize: error: data/code/resize\.json: is not a code lock; run dvc repro code first\n"),
        (b"\xff\xfe", r"resize: error: data/code/resize\.json: is not a code lock; run dvc repro code first\n"),
        (
            '{"module": "stages.resize", "libraries": {}, "modules": {"stages/resize.py": [1]}}',
            r"resize: error: data/code/resize\.json: is not a code lock; run dvc repro code first\n",
        ),
        ("folder", r"resize: error: data/code/resize\.json: Is a directory; run dvc repro code first\n"),
    ],
)
def test_a_lock_that_is_missing_or_damaged_takes_one_line(
    project: Project, content: str | bytes | None, line: str
) -> None:
    lock = project.data / "code/resize.json"
    lock.unlink()
    if content == "folder":
        lock.mkdir()
    elif content is not None:
        lock.write_bytes(content.encode() if isinstance(content, str) else content)
    ended = run(project, IN_CHUNKS)
    assert ended.returncode == 1
    assert re.fullmatch(line, ended.stderr)


def alone(project: Project, stage: str, **options: str) -> subprocess.CompletedProcess[str]:
    """Run a stage by hand, in a process of its own."""
    words = words_of(project.root, stage)
    for option, value in options.items():
        at = words.index(f"--{option}")
        words[at : at + 2] = [f"--{option}", value] if value else []
    return project.run(sys.executable, "-m", *words)


def test_a_stage_by_hand_runs_without_a_lock_and_refuses_another_stages(project: Project) -> None:
    files = files_of(project.data / IN_CHUNKS)
    result = alone(project, IN_CHUNKS, code="")
    assert result.returncode == 0, result.stderr
    assert files_of(project.data / IN_CHUNKS) == files
    result = alone(project, IN_CHUNKS, code="data/code/dataset.json")
    assert result.returncode == 1
    assert result.stderr == (
        "resize: error: data/code/dataset.json: is the lock of stages.dataset, and stages.resize runs; see dvc.yaml\n"
    )


def test_a_stage_of_a_family_is_compared_with_the_lock_of_both_its_modules(project: Project) -> None:
    part = "pipeline/families/faster_rcnn/evaluate.py"
    edit(project, part)
    said = run(project, "evaluate_joint").stderr
    assert said == f"evaluate_joint: error: the code changed after its lock was made ({part}); run dvc repro\n"
    lock = project.data / "code/evaluate-faster_rcnn.json"
    lock.unlink()
    lock.write_text(own_code(root=project.root).lock("stages.evaluate").text())
    assert run(project, "evaluate_joint").stderr == (
        "evaluate_joint: error: data/code/evaluate-faster_rcnn.json: is the lock of stages.evaluate, and "
        "stages.evaluate and pipeline.families.faster_rcnn.evaluate runs; see dvc.yaml\n"
    )


def test_a_module_that_no_import_statement_names_is_not_trusted(project: Project) -> None:
    (project.root / "pipeline/hidden.py").write_text("A = 1\n")
    path = project.root / "stages/resize.py"
    path.write_text(
        path.read_text().replace(
            "def resize(stage: Stage) -> None:\n",
            'def resize(stage: Stage) -> None:\n    __import__("pipeline." + "hid" + "den")\n',
            1,
        )
    )
    lock_anew(project)
    result = alone(project, IN_CHUNKS)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "resize: error: pipeline/hidden.py: loaded, and not in the stage's code lock, so its result is not kept; "
        "import it by an import statement"
    )

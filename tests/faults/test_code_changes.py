"""Code that changes before or while a stage runs: nothing is filed under code that did not compute it.

The stages run in the process of the tests, on the project's copy of the code, in which a test edits a module at some
moment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.graphs.present import graph_locks
from pipeline.runtime.own_code import own_code
from pipeline.training.checkpoints import EVERY_ITERATIONS, Checkpoints
from tests.conftest import Project
from tests.fidelity.conftest import files_of
from tests.in_process import Ended, run_command, run_frcnn, words_of

TRAINS, IN_CHUNKS, AT_ONCE = "train_rpn_step1", "resize", "dataset"
MODULES = {
    TRAINS: "pipeline/families/faster_rcnn/nn/rpn.py",
    IN_CHUNKS: "pipeline/artifacts/chunks.py",
    AT_ONCE: "pipeline/datasets/voc.py",
}
LIBRARY = {TRAINS: "torch", IN_CHUNKS: "cv2", AT_ONCE: "numpy"}


@pytest.fixture
def project(tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the finished run; `--code` locks are compared with its sources."""
    project = Project(Path(shutil.copytree(tiny_run.root, tmp_path / "a project", symlinks=True)))
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

"""What an edit reruns, on a finished run: stage `code`, DVC, and what asks for stage `code` where DVC does not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.orchestrate import repro
from pipeline.orchestrate.code_stage import current_locks, lock_code, write_locks
from pipeline.runtime.errors import InputError
from tests.conftest import TINY, Project, new_project
from tests.e2e.stand_in import stand_in
from tests.in_process import run_command, run_frcnn
from tests.orchestrate.graph_files import of_family

READER = "pipeline/datasets/voc.py"


@pytest.fixture
def project(tiny_run: Project, tmp_path: Path) -> Project:
    shutil.copytree(tiny_run.root, tmp_path / "a project", symlinks=True)
    return Project(tmp_path / "a project")


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on no process can be started."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process is started")

    monkeypatch.setattr(subprocess, "run", refuse)


def append(project: Project, module: str, text: str) -> None:
    assert (project.root / module).is_file()
    with (project.root / module).open("a") as file:
        file.write(text)


def test_comments_docstrings_and_layout_of_all_modules_rerun_nothing(project: Project) -> None:
    for path in [*(project.root / "pipeline").rglob("*.py"), *(project.root / "stages").glob("*.py")]:
        text = path.read_text()
        head, rest = re.fullmatch(r'(\A""".*?""")?(.*)', text, re.DOTALL).groups()  # type: ignore[union-attr]
        path.write_text(f"{head.replace('.', ';') if head else ''}\n\n# Another comment.{rest}\n\n\n# The end.\n")
    assert project.repro() == []


def test_a_reader_reruns_the_data_set_and_nothing_after_it_where_its_output_is_equal(project: Project) -> None:
    append(project, READER, "A = 1\n")
    assert project.repro() == ["dataset"]


def test_single_item_skips_a_stage_whose_code_has_changed_unless_frcnn_runs_it(
    project: Project, request: pytest.FixtureRequest
) -> None:
    append(project, READER, "A = 1\n")
    assert project.repro("-s", "dataset") == []
    result = project.run("python", "-m", "pipeline.cli", "repro", "-s", "dataset")
    assert result.returncode == 0, result.stderr
    assert re.findall(r"Running stage '(\w+)'", result.stdout) == ["dataset"]
    request.getfixturevalue("no_process")
    lock_code(project.root)  # which has nothing left to do


def test_frcnn_knows_that_option_in_all_its_spellings(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    locked: list[Path] = []
    monkeypatch.setattr(repro, "lock_code", locked.append)
    monkeypatch.setenv("FRCNN_PRELOAD", "0")
    monkeypatch.setattr("os.execve", lambda *_: None)
    for other in ("-f", "--force", "--pipeline", "resize"):
        repro.run_repro(project.root, [other, "dataset"])
    assert not locked
    for option in ("-s", "-fs", "-sf", "--single-item", "--single", "--downstream", "--down"):
        repro.run_repro(project.root, [option, "dataset"])
        assert locked.pop() == project.root


def test_a_new_parameter_of_the_evaluation_with_its_model_reruns_the_evaluations(
    project: Project, tiny_run: Project, tmp_path: Path
) -> None:
    append(project, "pipeline/params/evaluate.py", "    another: Count\n")
    project.set_params({"evaluate": {"another": 3}})
    evaluations = ["evaluate_step2", "evaluate_step4", "evaluate_joint"]
    assert project.repro(programs=stand_in(tmp_path / "bin", tiny_run)) == evaluations


@pytest.mark.long
def test_another_clone_with_the_same_cache_takes_all_from_it(tiny_run: Project, tmp_path: Path) -> None:
    cache = Path(shutil.copytree(tiny_run.root / ".dvc/cache", tmp_path / "cache"))
    clone = new_project(tmp_path / "clone", TINY)
    shutil.rmtree(clone.data / "code")
    assert clone.run("dvc", "cache", "dir", "--local", str(cache)).returncode == 0
    assert clone.repro() == []
    assert clone.lock() == tiny_run.lock()


def test_a_typo_ends_a_run_before_anything_else(project: Project) -> None:
    project.set_params({"finetune_joint": {"iterationz": 4}})
    result = project.run("dvc", "repro")
    assert result.returncode == 1 or result.returncode == 255
    assert re.findall(r"Running stage '(\w+)'", result.stdout) == ["code"]
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("code: ")]
    assert re.fullmatch(r"code: error: \S*params\.yaml: unknown parameter finetune_joint\.iterationz; .*", line)


@pytest.mark.parametrize("verb", ["status", "repro", "flow"])
def test_a_graph_and_parameters_of_two_families_are_told_in_one_line(project: Project, verb: str) -> None:
    of_family(project.root, "points")
    said = (
        f"{project.root}/dvc.yaml is the graph of family points and params.yaml is of family faster_rcnn; run frcnn "
        "preset, which writes both"
    )
    ended = run_frcnn(project.root, verb)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"frcnn: error: {said}\n")
    with pytest.raises(InputError, match=re.escape(said)):
        lock_code(project.root)
    ended = run_command(project.root, "stages.code", "--out", "data/code")
    assert (ended.returncode, ended.stderr) == (1, f"code: error: {said.removeprefix(f'{project.root}/')}\n")


def test_where_all_is_locked_no_process_is_started(project: Project, no_process: None) -> None:
    append(project, READER, "# A comment.\n")
    lock_code(project.root)


@pytest.mark.parametrize("damage", ["data/code", "data/code/dataset.json", "torn", "no text", "dvc.lock"])
def test_locks_that_are_gone_or_damaged_are_made_again(
    project: Project, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project.root / damage
    if damage in ("torn", "no text"):
        lock = project.data / "code/dataset.json"
        lock.unlink()
        lock.write_bytes(b'{"module": "stages.dat' if damage == "torn" else b"\xff\xfe")
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    started: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        started.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    lock_code(project.root)
    assert [command[-3:] for command in started] == [["repro", "--single-item", "code"]]


@pytest.mark.parametrize(
    ("file", "more", "line"),
    [
        ("params.yaml", "\nsolvr: {}\n", r".*params\.yaml: unknown .*solvr.*"),
        (READER, "def def\n", rf"{READER}:\d+: invalid syntax; fix it"),
        (
            "pipeline/families/faster_rcnn/nn/rpn.py",
            "\0\n",
            r"pipeline/families/faster_rcnn/nn/rpn\.py:?.*null bytes.*; fix it",
        ),
        (
            "pipeline/families/faster_rcnn/nn/rpn.py",
            "(" * 5000,
            r"pipeline/families/faster_rcnn/nn/rpn\.py:\d+: .*; fix it",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line_and_starts_nothing(
    project: Project, no_process: None, file: str, more: str, line: str
) -> None:
    with (project.root / file).open("a", encoding="utf-8", errors="surrogateescape") as opened:
        opened.write(more)
    with pytest.raises(InputError) as caught:
        lock_code(project.root)
    assert re.fullmatch(line, str(caught.value))


def test_notes_that_cannot_be_written_cost_time_alone(project: Project) -> None:
    shutil.rmtree(project.root / ".dvc/tmp/frcnn")
    (project.root / ".dvc/tmp/frcnn").write_text("in the way")
    append(project, READER, "# A comment.\n")
    before = {path: (project.root / path).read_text() for path in current_locks(project.root)}
    ended = run_command(project.root, "stages.code", "--out", "data/code")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert {path: (project.root / path).read_text() for path in before} == before


@pytest.mark.parametrize("in_this_process", [False, True])
def test_a_worker_writes_its_locks_without_dvc_where_its_code_is_the_coordinators(
    project: Project, tiny_run: Project, in_this_process: bool
) -> None:
    locks = {path: lock.text() for path, lock in current_locks(tiny_run.root).items()}
    shutil.rmtree(project.data / "code")
    append(project, READER, "# A comment.\n")
    write_locks(project.root, locks, in_this_process)
    assert {path: (project.root / path).read_text() for path in locks} == locks


@pytest.mark.parametrize("in_this_process", [False, True])
def test_a_worker_refuses_other_code_and_other_libraries(
    project: Project, tiny_run: Project, in_this_process: bool
) -> None:
    locks = {path: lock.text() for path, lock in current_locks(tiny_run.root).items()}
    needed = {"data/code/dataset.json": locks["data/code/dataset.json"]}
    shutil.rmtree(project.data / "code")
    other = json.loads(needed["data/code/dataset.json"])
    other["libraries"] |= {"cv2": "99.1", "numpy": "99.2"}
    with pytest.raises(InputError, match=r"\(cv2 99\.1 to \S+, numpy 99\.2 to \S+\); run make setup") as caught:
        write_locks(project.root, {"data/code/dataset.json": json.dumps(other)}, in_this_process)
    assert "\n" not in str(caught.value)
    append(project, "pipeline/families/faster_rcnn/nn/rpn.py", "A = 1\n")
    write_locks(project.root, needed, in_this_process)  # which does not depend on it
    append(project, READER, "A = 1\n")
    with pytest.raises(InputError, match=rf"are not the coordinator's \({READER}\); run make setup") as caught:
        write_locks(project.root, needed, in_this_process)
    assert "\n" not in str(caught.value)

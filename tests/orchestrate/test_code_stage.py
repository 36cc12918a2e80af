"""What an edit reruns, on a finished run: stage `code`, DVC, and what asks for stage `code` where DVC does not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.families.registry import family_names
from pipeline.graphs.stamp import stamped, without_stamp
from pipeline.orchestrate import repro
from pipeline.orchestrate.code_stage import current_locks, lock_code, write_locks
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT, TINY, Project, new_project
from tests.e2e.stand_in import stand_in
from tests.in_process import run_command, run_frcnn

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


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the code and of what it is checked with, without data."""
    for name in ("pipeline", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc.*"))
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    "module", ["pipeline/params/evaluate.py", "pipeline/families/faster_rcnn/nn/rpn.py", "stages/detect.py"]
)
def test_a_module_that_is_no_python_takes_one_line_though_stage_code_imports_it(sources: Path, module: str) -> None:
    path = sources / module
    path.write_text(f"{path.read_text()}def def\n")
    result = Project(sources).run(sys.executable, "-m", "stages.code", "--out", "data/code")
    assert result.returncode == 1
    assert re.fullmatch(rf"code: error: {module}:\d+: invalid syntax; fix it\n", result.stderr)
    status = Project(sources).run(sys.executable, "-m", "pipeline.cli", "status")
    assert status.returncode == 1 and status.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "      - data/code/backbone.json\n      - data/code/dataset.json\n",
            "      - data/code/backbone.json\n",
            "stage dataset depends on data/code/dataset.json, which stage code does not list; run frcnn graph",
        ),
        (
            "      - data/code/backbone.json\n      - data/code/dataset.json\n",
            "      - data/code/backbone.json\n      - data/code/gone.json\n      - data/code/dataset.json\n",
            "stage code lists data/code/gone.json, of code that no command runs; run frcnn graph",
        ),
    ],
)
def test_stage_code_names_locks_that_the_graph_lacks_or_has_too_many(
    sources: Path, old: str, new: str, line: str
) -> None:
    text = (sources / "dvc.yaml").read_text()
    assert old in text
    (sources / "dvc.yaml").write_text(text.replace(old, new))
    ended = run_command(sources, "stages.code", "--out", "data/code")
    assert (ended.returncode, ended.stderr) == (1, f"code: error: dvc.yaml: {line}\n")


def test_the_graph_may_give_outputs_settings_and_have_no_stages(sources: Path) -> None:
    text = (sources / "dvc.yaml").read_text()
    first = "      - data/code/backbone.json\n"
    (sources / "dvc.yaml").write_text(text.replace(first, "      - data/code/backbone.json: {cache: false}\n", 1))
    for _ in range(2):
        assert run_command(sources, "stages.code", "--out", "data/code").returncode == 0
        (sources / "dvc.yaml").write_text("plots: []\n")


def test_files_among_the_stages_that_no_command_runs_are_no_stages(sources: Path) -> None:
    (sources / "stages/.#resize.py").symlink_to("someone@somewhere.1234")
    for name in ("resize copy", "scratch", "train_dense"):
        (sources / f"stages/{name}.py").write_text("def (")
    result = Project(sources).run(sys.executable, "-m", "stages.code", "--out", "data/code")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("stages/resize.py", r"stages\.resize: no such module in .*; put it back, or check the name"),
        (READER, r"pipeline/\S+\.py: imports pipeline\.datasets\.voc, which is not there; put it back, or do not .*"),
        (
            "pipeline/families/faster_rcnn/nn/rpn.py",
            r"pipeline/\S+\.py: imports pipeline\.families\.\S+\.rpn, which .*",
        ),
    ],
)
def test_a_locked_module_that_is_gone_takes_one_line(sources: Path, module: str, said: str) -> None:
    (sources / module).unlink()
    result = Project(sources).run(sys.executable, "-m", "stages.code", "--out", "data/code")
    assert result.returncode == 1
    assert re.fullmatch(rf"code: error: {said}\n", result.stderr)


def of_family(root: Path, family: str) -> None:
    """Have dvc.yaml say that it is the graph of a family."""
    path = root / "dvc.yaml"
    path.write_text(stamped(family, without_stamp(path.read_text())))


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


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The graph and the parameters alone, in a repository; code is that in use."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / ".dvc").mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def assert_refused_by_all(root: Path, line: str) -> None:
    """Stage `code` and the verbs that run or explain the graph stop at a line."""
    ended = run_command(root, "stages.code", "--out", "data/code")
    assert (ended.returncode, ended.stderr) == (1, f"code: error: {line}\n")
    for verb in ("status", "repro", "flow", "report"):
        ended = run_frcnn(root, verb)
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"frcnn: error: {root}/{line}\n")


EVALUATE = "python -m stages.evaluate\n      --family faster_rcnn\n"
OF_A_FAMILY = "stage evaluate_step2 runs stages.evaluate, which is of a family; write --family faster_rcnn"


@pytest.mark.parametrize(
    ("old", "new", "said", "stamp"),
    [
        (EVALUATE, "python -m stages.evaluate\n", OF_A_FAMILY, True),
        (EVALUATE, EVALUATE.replace("faster_rcnn", "points"), OF_A_FAMILY, False),
        (EVALUATE, EVALUATE.replace("faster_rcnn", "../x"), OF_A_FAMILY, True),
        (
            "python -m stages.resize\n",
            "python -m stages.resize --family faster_rcnn\n",
            "stage resize runs stages.resize, which is of no family; leave out --family faster_rcnn",
            False,
        ),
    ],
)
def test_a_command_of_another_family_is_told_before_anything_runs(
    bare: Path, old: str, new: str, said: str, stamp: bool
) -> None:
    text = without_stamp((bare / "dvc.yaml").read_text())
    assert old in text
    text = text.replace(old, new, 1)
    (bare / "dvc.yaml").write_text(stamped("faster_rcnn", text) if stamp else text)
    assert_refused_by_all(bare, f"dvc.yaml: {said}")


def test_a_graph_of_another_family_is_told_alike_by_all(bare: Path) -> None:
    of_family(bare, "points")
    said = "dvc.yaml is the graph of family points and params.yaml is of family faster_rcnn; run frcnn preset, which "
    assert_refused_by_all(bare, f"{said}writes both")


def test_a_family_that_there_is_not_is_told_alike_by_all(bare: Path) -> None:
    path = bare / "params.yaml"
    path.write_text(path.read_text().replace("family: faster_rcnn", "family: faster_rccn"))
    assert_refused_by_all(bare, f"params.yaml: no family 'faster_rccn'; there are {', '.join(family_names())}")


def test_a_section_that_a_stage_reads_and_params_yaml_lacks_is_told_by_stage_code(sources: Path) -> None:
    path = sources / "dvc.yaml"
    path.write_text(path.read_text().replace("params: [base, resize]", "params: [base, resise]"))
    ended = run_command(sources, "stages.code", "--out", "data/code")
    assert (ended.returncode, ended.stderr) == (
        1,
        "code: error: dvc.yaml: stage resize reads section resise, which params.yaml of family faster_rcnn does not "
        "have; run frcnn preset, which writes both\n",
    )


TORN = r"it is torn or in conflict: solve graphs/\*\.yaml, delete it and run frcnn graph"


@pytest.mark.parametrize("verb", ["repro", "flow"])
@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, r"no such file; frcnn graph writes it"),
        (b"", r"names no stages with a command each; delete it and run frcnn graph"),
        (b"# A comment.\n", r"names no stages with a command each; delete it and run frcnn graph"),
        (b"plots: []\n", r"no stages; delete it and run frcnn graph"),
        (b"stages:\n", r"no stages; delete it and run frcnn graph"),
        (b"<<<<<<< HEAD\nstages: {}\n=======\n>>>>>>> b\n", rf"not valid YAML \(line .*\); {TORN}"),
        (b"\xff", rf"not valid YAML \(byte 1 is no UTF-8\); {TORN}"),
    ],
)
def test_a_run_of_a_graph_without_stages_or_that_cannot_be_read_takes_one_line(
    bare: Path, verb: str, content: bytes | None, line: str
) -> None:
    (bare / "dvc.yaml").unlink()
    if content is not None:
        (bare / "dvc.yaml").write_bytes(content)
    ended = run_frcnn(bare, verb)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(rf"frcnn: error: {bare}/dvc\.yaml: {line}\n", ended.stderr)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, r"dvc\.yaml: no such file; frcnn graph writes it"),
        (b"stages: [", rf"dvc\.yaml: not valid YAML \(line 2, column 1: .*\); {TORN}"),
        (b"stages: \xff", rf"dvc\.yaml: not valid YAML \(byte 9 is no UTF-8\); {TORN}"),
        (b"stages: [a]", r"dvc\.yaml: names no stages with a command each; delete it and run frcnn graph"),
        (b"- a", r"dvc\.yaml: names no stages with a command each; delete it and run frcnn graph"),
    ],
)
def test_a_graph_that_cannot_be_read_takes_one_line(sources: Path, content: bytes | None, line: str) -> None:
    (sources / "dvc.yaml").unlink()
    if content is not None:
        (sources / "dvc.yaml").write_bytes(content)
    ended = run_command(sources, "stages.code", "--out", "data/code")
    assert ended.returncode == 1
    assert re.fullmatch(rf"code: error: {line}\n", ended.stderr)


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


def test_a_worker_writes_its_locks_without_dvc_where_its_code_is_the_coordinators(
    project: Project, tiny_run: Project
) -> None:
    locks = {path: lock.text() for path, lock in current_locks(tiny_run.root).items()}
    shutil.rmtree(project.data / "code")
    append(project, READER, "# A comment.\n")
    write_locks(project.root, locks)
    assert {path: (project.root / path).read_text() for path in locks} == locks


def test_a_worker_refuses_other_code_and_other_libraries(project: Project, tiny_run: Project) -> None:
    locks = {path: lock.text() for path, lock in current_locks(tiny_run.root).items()}
    needed = {"data/code/dataset.json": locks["data/code/dataset.json"]}
    shutil.rmtree(project.data / "code")
    other = json.loads(needed["data/code/dataset.json"])
    other["libraries"] |= {"cv2": "99.1", "numpy": "99.2"}
    with pytest.raises(InputError, match=r"\(cv2 99\.1 to \S+, numpy 99\.2 to \S+\); run make setup") as caught:
        write_locks(project.root, {"data/code/dataset.json": json.dumps(other)})
    assert "\n" not in str(caught.value)
    append(project, "pipeline/families/faster_rcnn/nn/rpn.py", "A = 1\n")
    write_locks(project.root, needed)  # which does not depend on it
    append(project, READER, "A = 1\n")
    with pytest.raises(InputError, match=rf"are not the coordinator's \({READER}\); run make setup") as caught:
        write_locks(project.root, needed)
    assert "\n" not in str(caught.value)

"""Graphs, parameters and code that cannot be run together are refused in one line, before anything runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.families.registry import family_names
from pipeline.graphs.stamp import stamped, without_stamp
from tests.conftest import ROOT, Project
from tests.in_process import run_command, run_frcnn
from tests.orchestrate.graph_files import of_family

READER = "pipeline/datasets/voc.py"


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
        (b"\xff", rf"not valid YAML \(byte 1 is not UTF-8\); {TORN}"),
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
        (b"stages: \xff", rf"dvc\.yaml: not valid YAML \(byte 9 is not UTF-8\); {TORN}"),
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

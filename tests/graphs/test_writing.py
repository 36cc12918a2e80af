"""`frcnn graph`, and the dvc.yaml that `frcnn preset` writes: never over an edit by hand."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from pipeline.graphs.composing import composed
from pipeline.graphs.writing import graph_to_make, graph_to_write, write_graph
from pipeline.orchestrate.workspace import hold_workspace
from pipeline.runtime.errors import InputError
from tests.defaults import copy_graphs, write_default_params
from tests.families.points_project import FILES, visible
from tests.in_process import run_frcnn

NAME = "faster_rcnn"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    copy_graphs(tmp_path)
    write_default_params(tmp_path)
    (tmp_path / "dvc.yaml").write_text(composed(tmp_path, NAME))
    return tmp_path


def written(project: Path) -> str:
    write_graph(project, graph_to_write(project, NAME))
    return (project / "dvc.yaml").read_text()


def with_a_note(project: Path) -> None:
    file = project / f"graphs/{NAME}.yaml"
    file.write_text(file.read_text().replace("stages:\n", "stages:\n  # A note.\n", 1))


def test_the_verb_takes_an_edit_of_a_graph_file_over_and_leaves_params_yaml_alone(project: Path) -> None:
    before = (project / "params.yaml").read_bytes()
    assert run_frcnn(project, "graph").stdout == "dvc.yaml: the graph of faster_rcnn, as it was\n"
    with_a_note(project)
    assert run_frcnn(project, "graph").stdout == "dvc.yaml: the graph of faster_rcnn\n"
    assert "  # A note.\n  frozen_features:\n" in (project / "dvc.yaml").read_text()
    assert (project / "params.yaml").read_bytes() == before


def test_a_missing_one_is_written(project: Path) -> None:
    before = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").unlink()
    assert written(project) == before


@pytest.mark.parametrize("edit", ["stage", "comment", "no stamp"])
def test_one_that_was_edited_by_hand_is_left_as_it_is(project: Path, edit: str) -> None:
    text = (project / "dvc.yaml").read_text()
    edited = {
        "stage": text.replace("timeout_minutes: 480", "timeout_minutes: 48", 1).encode(),
        "comment": text.replace("# Step 1:", "# The first step:").encode(),
        "no stamp": text.replace("shows what", "says what").split("\n#\n", 1)[1].encode(),
    }[edit]
    (project / "dvc.yaml").write_bytes(edited)
    with_a_note(project)
    ended = run_frcnn(project, "graph")
    assert ended.returncode == 1
    assert ended.stderr == (
        "frcnn: error: dvc.yaml: edited by hand, so it is not overwritten; move the change to graphs/faster_rcnn.yaml "
        "or graphs/common.yaml (git diff shows it), delete the file and run this again\n"
    )
    assert (project / "dvc.yaml").read_bytes() == edited


@pytest.mark.parametrize("damage", ["conflict", "conflict in a comment", "cut", "cut in a line", "empty", "no text"])
def test_one_that_is_torn_or_in_conflict_is_told_as_such_and_left(project: Path, damage: str) -> None:
    text = (project / "dvc.yaml").read_text()
    middle = text.index("  train_rpn_step3:\n")
    conflict = "<<<<<<< HEAD\n{}=======\n{}>>>>>>> other\n"
    torn = {
        "conflict": (text[:middle] + conflict.format("  a: {cmd: b}\n", "") + text[middle:]).encode(),
        "conflict in a comment": text.replace("\n#\n", "\n#\n# <<<<<<< HEAD\n", 1).encode(),
        "cut": text[:middle].encode(),
        "cut in a line": text[: text.index("[base, resize]") + 5].encode(),
        "empty": b"",
        "no text": b"\xff",
    }[damage]
    (project / "dvc.yaml").write_bytes(torn)
    for words in (("graph",), ("preset", "default")):
        ended = run_frcnn(project, *words)
        assert ended.returncode == 1
        assert re.fullmatch(
            r"frcnn: error: \S*dvc\.yaml: not overwritten, as it is torn or in conflict: solve graphs/\*\.yaml, delete "
            r"it and run frcnn graph\n",
            ended.stderr,
        )
    assert (project / "dvc.yaml").read_bytes() == torn


def test_without_a_stamp_the_graph_file_of_the_present_family_is_named(project: Path) -> None:
    """Not that of the family whose preset is applied, which the edit is not of."""
    (project / "dvc.yaml").write_text("stages: {own: {cmd: python -m stages.own --params base --out data/own}}\n")
    shutil.copyfile(FILES / "graph.yaml", project / "graphs/points.yaml")
    with (
        visible(),
        pytest.raises(InputError, match=r"move the change to graphs/faster_rcnn\.yaml or graphs/common\.yaml"),
    ):
        graph_to_write(project, "points")


def test_line_ends_of_another_system_are_no_edit(project: Path) -> None:
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_bytes(text.replace("\n", "\r\n").encode())
    assert written(project) == text


def test_one_that_git_merged_of_two_edits_of_the_graph_files_is_no_edit(project: Path) -> None:
    before = (project / "dvc.yaml").read_text()
    with_a_note(project)
    after = composed(project, NAME)
    stale = before.split("\n#\n", 1)[0] + "\n#\n" + after.split("\n#\n", 1)[1]
    (project / "dvc.yaml").write_text(stale)
    assert written(project) == after != stale


def test_a_wrong_graph_file_leaves_it_as_it_is(project: Path) -> None:
    before = (project / "dvc.yaml").read_text()
    (project / "graphs/common.yaml").write_text("stages: [\n")
    with pytest.raises(InputError, match=r"common\.yaml: not valid YAML"):
        written(project)
    assert (project / "dvc.yaml").read_text() == before


def test_neither_verb_changes_anything_under_a_run(project: Path) -> None:
    (project / ".dvc").mkdir()
    with_a_note(project)
    before = {name: (project / name).read_bytes() for name in ("dvc.yaml", "params.yaml")}
    with hold_workspace(project):
        for words in (("graph",), ("preset", "default", "base.seed=7")):
            ended = run_frcnn(project, *words)
            assert ended.returncode == 1
            assert ended.stderr == (
                f"frcnn: error: another run (process {os.getpid()}) is at work in this workspace; "
                "wait for it, or stop it\n"
            )
    assert {name: (project / name).read_bytes() for name in before} == before
    assert run_frcnn(project, "graph").returncode == 0


NOTE = (
    "dvc.yaml is not what graphs/common.yaml and graphs/faster_rcnn.yaml now make; run frcnn graph to take their edits "
    "over"
)


def test_graph_files_that_were_edited_since_are_noted(project: Path) -> None:
    assert graph_to_make(project) is None
    with_a_note(project)
    assert graph_to_make(project) == NOTE
    ended = run_frcnn(project, "status")
    assert ended.stderr.splitlines()[0] == NOTE
    written(project)
    assert graph_to_make(project) is None


@pytest.mark.parametrize("name", ["dvc.yaml", "graphs/faster_rcnn.yaml"])
@pytest.mark.parametrize("content", [b"", b"\xff", b"stages: 3\n", None])
def test_of_a_graph_that_is_wrong_there_is_no_note(project: Path, name: str, content: bytes | None) -> None:
    (project / name).unlink() if content is None else (project / name).write_bytes(content)
    assert graph_to_make(project) is None


def test_of_one_with_line_ends_of_another_system_there_is_none(project: Path) -> None:
    (project / "dvc.yaml").write_bytes((project / "dvc.yaml").read_bytes().replace(b"\n", b"\r\n"))
    assert graph_to_make(project) is None


@pytest.mark.parametrize("verb", ["repro", "flow"])
def test_what_runs_the_graph_gives_the_note_first(project: Path, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = {"repro": "repro", "flow": "commands"}[verb]

    def note(root: Path) -> str:
        raise InputError("as noted")

    (project / ".dvc/tmp").mkdir(parents=True)
    monkeypatch.setattr(f"pipeline.orchestrate.{module}.graph_to_make", note)
    monkeypatch.setattr(f"pipeline.orchestrate.{module}.check_repository", lambda root: None)
    assert run_frcnn(project, verb).stderr == "frcnn: error: as noted\n"

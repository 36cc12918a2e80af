"""A worker's clone is what a request needs, or says why it cannot be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.runtime.errors import InputError
from pipeline.workers.clone import prepare_clone, revision_of
from pipeline.workers.setting import Setting
from tests.workers.cluster import git

NOTHING = Setting("", "")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    root = tmp_path / "origin"
    root.mkdir()
    git(root, "init", "--quiet")
    for name, text in {"params.yaml": "a: 1\n", "dvc.yaml": "stages: {}\n", "code.py": "first\n"}.items():
        (root / name).write_text(text)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "First")
    return root


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(origin), str(tmp_path / "clone")], check=True)
    return tmp_path / "clone"


def commit(origin: Path) -> str:
    (origin / "code.py").write_text("second\n")
    git(origin, "commit", "--all", "--quiet", "--message", "Second")
    return revision_of(origin)


ENTRY = {"cmd": "x", "outs": [{"path": "data/x", "hash": "md5", "md5": "0" * 32}]}


def test_a_clone_gets_the_code_of_a_later_commit_the_parameters_and_the_lock(origin: Path, clone: Path) -> None:
    assert prepare_clone(clone, commit(origin), Setting("a: 2\n", "stages: {x: {cmd: x}}\n"), {"x": ENTRY})
    assert (clone / "code.py").read_text() == "second\n"
    assert (clone / "params.yaml").read_text() == "a: 2\n"
    assert (clone / "dvc.yaml").read_text() == "stages: {x: {cmd: x}}\n"
    assert yaml.safe_load((clone / "dvc.lock").read_text()) == {"schema": "2.0", "stages": {"x": ENTRY}}
    # And of another request after it.
    assert not prepare_clone(clone, revision_of(clone), Setting("a: 3\n", "stages: {}\n"), {})
    assert (clone / "params.yaml").read_text() == "a: 3\n"
    assert (clone / "dvc.yaml").read_text() == "stages: {}\n"


def test_a_commit_that_is_nowhere_is_named(clone: Path) -> None:
    with pytest.raises(InputError, match="has no commit 000000000000, nor has its remote; push it"):
        prepare_clone(clone, "0" * 40, NOTHING, {})


def test_changed_code_is_never_overwritten_nor_left_out(origin: Path, clone: Path) -> None:
    (clone / "code.py").write_text("mine\n")
    with pytest.raises(InputError, match=r"code\.py: changed since the last commit; a worker's clone must be"):
        prepare_clone(clone, commit(origin), NOTHING, {})
    assert (clone / "code.py").read_text() == "mine\n"
    with pytest.raises(InputError, match=r"code\.py: changed since the last commit; workers run what is committed"):
        revision_of(clone)


@pytest.mark.parametrize(
    "name",
    [
        "pipeline/new.py",
        "pipeline/deep/down/new.py",
        "stages/new.py",
        "stages/neu ä.py",
        # Of a family.
        "pipeline/families/new/family.py",
        "pipeline/families/new/params.yaml",
        "pipeline/presets/new.yaml",
        "graphs/new.yaml",
    ],
)
@pytest.mark.parametrize("ignored", [False, True])
def test_a_module_graph_or_preset_that_is_not_committed_is_refused_and_kept(
    origin: Path, clone: Path, name: str, ignored: bool
) -> None:
    revision = revision_of(origin)
    for root in (origin, clone):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("mine\n")
        if ignored:
            (root / ".git/info/exclude").write_text("new*\n*/neu*\n/pipeline/families/\n")
    with pytest.raises(InputError) as caught:
        revision_of(origin)
    assert (
        str(caught.value) == f"{origin / name}: not committed; workers run what is committed; commit it, or remove it"
    )
    with pytest.raises(InputError) as caught:
        prepare_clone(clone, revision, NOTHING, {})
    assert str(caught.value) == f"{clone / name}: not committed; a worker's clone must be as committed; remove it"
    assert (clone / name).exists() and (clone / "params.yaml").read_text() == "a: 1\n"


def test_other_files_that_are_not_committed_are_no_concern(origin: Path, clone: Path) -> None:
    for name in (
        "notes.py",
        "pipeline/__pycache__/new.pyc",
        "data/new.txt",
        "tests/new.py",
        "rates.yaml",
        "graphs/notes.txt",
    ):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("mine\n")
    prepare_clone(clone, revision_of(origin), NOTHING, {})


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml", "dvc.lock"])
def test_parameters_graph_and_lock_may_be_changed(clone: Path, name: str) -> None:
    (clone / "dvc.lock").touch()
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "Second")
    (clone / name).write_text("a: 5\n")
    assert len(revision_of(clone)) == 40
    prepare_clone(clone, revision_of(clone), NOTHING, {})


@pytest.mark.parametrize("name", ["graphs/points.yaml", "pipeline/presets/shapes_points.yaml", "deep/params.yaml"])
def test_what_they_are_made_from_may_not(clone: Path, name: str) -> None:
    (clone / name).parent.mkdir(parents=True)
    (clone / name).write_text("a: 1\n")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "Second")
    (clone / name).write_text("a: 5\n")
    with pytest.raises(InputError, match=f"{name}: changed since the last commit"):
        revision_of(clone)


def test_no_repository_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="git status"):
        revision_of(tmp_path)

"""A worker's clone is what a request needs, or says why it cannot be."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.errors import InputError
from pipeline.workers.clone import prepare_clone, revision_of
from tests.workers.cluster import git


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    root = tmp_path / "origin"
    root.mkdir()
    git(root, "init", "--quiet")
    for name, text in {"params.yaml": "a: 1\n", "code.py": "first\n"}.items():
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
    prepare_clone(clone, commit(origin), "a: 2\n", {"x": ENTRY})
    assert (clone / "code.py").read_text() == "second\n"
    assert (clone / "params.yaml").read_text() == "a: 2\n"
    assert yaml.safe_load((clone / "dvc.lock").read_text()) == {"schema": "2.0", "stages": {"x": ENTRY}}
    # And of another request after it.
    prepare_clone(clone, revision_of(clone), "a: 3\n", {})
    assert (clone / "params.yaml").read_text() == "a: 3\n"


def test_a_commit_that_is_nowhere_is_named(clone: Path) -> None:
    with pytest.raises(InputError, match="has no commit 000000000000, nor has its remote; push it"):
        prepare_clone(clone, "0" * 40, "", {})


def test_changed_code_is_never_overwritten_nor_left_out(origin: Path, clone: Path) -> None:
    (clone / "code.py").write_text("mine\n")
    with pytest.raises(InputError, match=r"code\.py: changed since the last commit; a worker's clone must be"):
        prepare_clone(clone, commit(origin), "", {})
    assert (clone / "code.py").read_text() == "mine\n"
    with pytest.raises(InputError, match=r"code\.py: changed since the last commit; workers run what is committed"):
        revision_of(clone)


def test_parameters_may_be_changed(clone: Path) -> None:
    (clone / "params.yaml").write_text("a: 5\n")
    assert len(revision_of(clone)) == 40


def test_no_repository_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="git status"):
        revision_of(tmp_path)

"""A running stage's code against its lock: edits that are saved while it starts, and undone again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pipeline.runtime.code_locks.lock import CodeError
from pipeline.runtime.code_locks.running import RunningCode
from pipeline.runtime.code_locks.tree import SourceTree

MODULE = "a.start"


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    (tmp_path / "a").mkdir()
    for name, text in {"__init__": "", "start": "from a import other", "other": "A = 1", "beside": ""}.items():
        (tmp_path / f"a/{name}.py").write_text(text)
        os.utime(tmp_path / f"a/{name}.py", (1e9, 1e9))
    return SourceTree(tmp_path, ["a"], {})


@pytest.fixture
def lock_file(tree: SourceTree) -> Path:
    file = tree.root / "lock.json"
    file.write_text(tree.lock(MODULE).text())
    return file


def test_what_was_saved_since_the_process_began_is_refused_though_it_was_undone(
    tree: SourceTree, lock_file: Path
) -> None:
    started = time.time() - 60
    RunningCode(tree, lock_file, MODULE, started).check()
    saved = tree.root / "a/other.py"
    os.utime(saved, (started + 1, started + 1))
    with pytest.raises(CodeError, match=r"^the code changed while the stage started \(a/other\.py\); run it again$"):
        RunningCode(tree, lock_file, MODULE, started)
    # Before it began, by a clock that is ahead, and of a module that the stage does not reach.
    for path, at in ((saved, started - 1), (saved, started + 3600), (tree.root / "a/beside.py", started + 1)):
        os.utime(path, (at, at))
        RunningCode(tree, lock_file, MODULE, started).check()


def test_in_a_process_of_others_times_say_nothing(tree: SourceTree, lock_file: Path) -> None:
    os.utime(tree.root / "a/other.py")
    RunningCode(tree, lock_file, None, time.time() - 60).check()


def test_a_module_that_is_torn_while_the_stage_runs_costs_its_result_in_one_line(
    tree: SourceTree, lock_file: Path
) -> None:
    code = RunningCode(tree, lock_file, None)
    (tree.root / "a/other.py").write_text("def (")
    with pytest.raises(
        CodeError, match=r"changed while it ran \(a/other\.py:1: .*; fix it\), so its result is not kept"
    ):
        code.check()


def test_the_lock_must_be_of_the_parts_that_the_stage_has_loaded(tree: SourceTree, lock_file: Path) -> None:
    with pytest.raises(CodeError, match=r"is the lock of a\.start, and a\.start and a\.beside runs; see dvc\.yaml$"):
        RunningCode(tree, lock_file, MODULE, parts=["a.beside"])
    lock_file.write_text(tree.lock(MODULE, ["a.beside"]).text())
    with pytest.raises(CodeError, match=r"is the lock of a\.start and a\.beside, and a\.start runs; see dvc\.yaml$"):
        RunningCode(tree, lock_file, None)
    code = RunningCode(tree, lock_file, MODULE, parts=["a.beside"])
    assert code.digest == RunningCode(tree, None, MODULE, parts=["a.beside"]).digest
    (tree.root / "a/beside.py").write_text("A = 1")
    with pytest.raises(CodeError, match=r"changed while it ran \(a/beside\.py\), so its result is not kept"):
        code.check()


def test_the_remedy_is_the_projects_own(tree: SourceTree, lock_file: Path) -> None:
    (tree.root / "a/other.py").write_text("A = 2")
    with pytest.raises(CodeError, match=r"\(a/other\.py\); run make all$"):
        RunningCode(tree, lock_file, None, remedy="make all")
    lock_file.unlink()
    with pytest.raises(CodeError, match=r"no such code lock; run make locks first$"):
        RunningCode(tree, lock_file, None, remedy_first="make locks")

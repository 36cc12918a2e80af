"""Digests by content, kept so that no source is parsed twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.runtime.code_locks import memo as memo_module
from pipeline.runtime.code_locks.lock import CodeLock
from pipeline.runtime.code_locks.tree import SourceTree
from tests.runtime.code_locks.small_trees import tree_of


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the modules that have been parsed."""
    names: list[str] = []
    read = memo_module.read_source

    def count(content: bytes, name: str, *, is_package: bool) -> memo_module.ModuleSource:
        names.append(name)
        return read(content, name, is_package=is_package)

    monkeypatch.setattr(memo_module, "read_source", count)
    return names


SMALL = {"a/__init__.py": "", "a/start.py": "import a.one", "a/one.py": "x = 1"}


def lock_with(memo: Path | None, root: Path) -> CodeLock:
    tree = SourceTree(root, ("a", "b"), {}, (), memo)
    lock = tree.lock("a.start")
    tree.keep_memo()
    return lock


def test_no_source_is_parsed_twice_by_its_content(tmp_path: Path, parsed: list[str]) -> None:
    tree_of(tmp_path, SMALL)
    memo = tmp_path / "notes/memo.json"
    first = lock_with(memo, tmp_path)
    assert sorted(parsed) == ["a", "a.one", "a.start"]
    parsed.clear()
    assert lock_with(memo, tmp_path) == first and parsed == []
    (tmp_path / "a/one.py").write_text("x = 2")
    assert first.changes(lock_with(memo, tmp_path)) == ["a/one.py"] and parsed == ["a.one"]
    assert [path.name for path in memo.parent.iterdir()] == ["memo.json"]


def test_one_content_in_two_places_is_not_one_source(tmp_path: Path) -> None:
    text = "from . import one"
    tree_of(tmp_path, {**SMALL, "a/start.py": "import a.x, b.x", "a/x.py": text, "b/__init__.py": "", "b/x.py": text})
    memo = tmp_path / "memo.json"
    assert "a/one.py" in lock_with(memo, tmp_path).modules
    (tmp_path / "b/one.py").write_text("")
    assert {"a/one.py", "b/one.py"} <= lock_with(memo, tmp_path).modules.keys()


def test_the_memo_keeps_only_what_was_used(tmp_path: Path) -> None:
    tree_of(tmp_path, SMALL)
    memo = tmp_path / "memo.json"
    for number in range(4):
        (tmp_path / "a/one.py").write_text(f"x = {number}")
        lock_with(memo, tmp_path)
        assert len(json.loads(memo.read_text())["sources"]) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "{}",
        lambda text: text.replace('"sources": [', '"sources": [3, '),
        lambda text: text.replace('"sources": [', '"sources": [["key", 3], '),
        lambda text: text.replace('"sources": [', '"sources": [["key", ["digest", 3]], '),
        lambda text: "\udcff",
    ],
)
def test_a_damaged_memo_is_made_anew(tmp_path: Path, damage: object, parsed: list[str]) -> None:
    tree_of(tmp_path, SMALL)
    memo = tmp_path / "memo.json"
    first = lock_with(memo, tmp_path)
    whole = memo.read_bytes()
    memo.write_bytes(damage(whole.decode()).encode(errors="surrogateescape"))  # type: ignore[operator]
    parsed.clear()
    assert lock_with(memo, tmp_path) == first
    assert sorted(parsed) == ["a", "a.one", "a.start"] and memo.read_bytes() == whole


def test_the_memo_of_other_code_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree_of(tmp_path, SMALL)
    memo = tmp_path / "memo.json"
    first = lock_with(memo, tmp_path)
    content = json.loads(memo.read_text())
    for source in content["sources"]:
        source[1] = "0" * 16
    memo.write_text(json.dumps(content))
    assert set(lock_with(memo, tmp_path).modules.values()) == {"0" * 16}  # as it is believed
    monkeypatch.setattr(memo_module, "_own_hash", lambda: "another")
    assert lock_with(memo, tmp_path) == first


def test_a_memo_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    tree_of(tmp_path, SMALL)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    expected = lock_with(None, tmp_path)
    assert lock_with(tmp_path / "file/memo.json", tmp_path) == expected
    assert lock_with(tmp_path / "folder", tmp_path) == expected  # a folder is in its place
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "file", "folder"]


def test_at_one_time_a_source_is_read_once_and_afterwards_anew(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, SMALL)
    with tree.at_one_time():
        first = tree.lock("a.start")
        (tmp_path / "a/one.py").write_text("x = 2")
        (tmp_path / "a/start.py").unlink()
        assert tree.has("a.start") and tree.lock("a.start") == first
    assert not tree.has("a.start")
    (tmp_path / "a/start.py").write_text(SMALL["a/start.py"])
    assert first.changes(tree.lock("a.start")) == ["a/one.py"]

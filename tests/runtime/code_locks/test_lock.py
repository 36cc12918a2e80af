"""Locks of small trees: what a module reaches by import, and what differs between two locks."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from pipeline.runtime.code_locks.lock import CodeError, CodeLock, parse_lock, read_lock
from tests.runtime.code_locks.small_trees import tree_of


def reached(root: Path, files: Mapping[str, str], left_out: Iterable[str] = (), start: str = "a.start") -> list[str]:
    """What `a.start` reaches besides itself and the empty `a/__init__.py`."""
    modules = tree_of(root, {"a/__init__.py": "", **files}, left_out).lock(start).modules
    return [path for path in modules if path not in ("a/start.py", "a/__init__.py")]


MORE = {"a/one.py": "", "a/two.py": "", "b/__init__.py": "", "b/sub/__init__.py": "", "b/sub/deep.py": "name = 1"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import a.one", ["a/one.py"]),
        ("import a.one as x, a.two", ["a/one.py", "a/two.py"]),
        ("import a", []),
        ("from a import one", ["a/one.py"]),
        ("from a import (one as x, two)", ["a/one.py", "a/two.py"]),
        ("from a.one import anything", ["a/one.py"]),
        ("from a import one, not_a_module", ["a/one.py"]),
        ("from a import *", []),
        ("from . import one", ["a/one.py"]),
        ("from .one import x", ["a/one.py"]),
        ("from .. import b", []),
        ("from b.sub import deep", ["b/__init__.py", "b/sub/__init__.py", "b/sub/deep.py"]),
        ("import b.sub.deep", ["b/__init__.py", "b/sub/__init__.py", "b/sub/deep.py"]),
        ("from b.sub.deep import name", ["b/__init__.py", "b/sub/__init__.py", "b/sub/deep.py"]),
        ("from b import sub", ["b/__init__.py", "b/sub/__init__.py"]),
        ("def f():\n    from a import one", ["a/one.py"]),
        ("class A:\n    import a.one", ["a/one.py"]),
        ("try:\n    import a.one\nexcept ImportError:\n    import a.two", ["a/one.py", "a/two.py"]),
        ("if x:\n    import a.one\nelse:\n    f(lambda: __import__('a.two'))", ["a/one.py", "a/two.py"]),
        ("with x:\n  for y in z:\n    match y:\n      case 1:\n        import a.one", ["a/one.py"]),
        ("import_module('a.one')", ["a/one.py"]),
        ("importlib.import_module('a.' 'one')", ["a/one.py"]),
        ("import_module(name='a.one')", ["a/one.py"]),
        ("import_module('.one', 'a')", ["a/one.py"]),
        ("import_module('.one', package='a')", ["a/one.py"]),
        ("import_module('.one', __package__)", ["a/one.py"]),
        ("import_module('..deep', 'b.sub.other')", ["b/__init__.py", "b/sub/__init__.py", "b/sub/deep.py"]),
        ("x = __import__('a.one', fromlist=['x'])", ["a/one.py"]),
        ("import_module('a.' + x)", []),
        ("import_module()", []),
        ("import_module(1)", []),
        ("print('a.one')", []),
        ("import a.gone, a.gone.more", []),
        ("import json, os.path\nfrom typing import Any", []),
        ("if TYPE_CHECKING:\n    import a.one\nelse:\n    import a.two", ["a/two.py"]),
        ("if typing.TYPE_CHECKING:\n    import a.one", []),
        ("if not TYPE_CHECKING:\n    import a.one", ["a/one.py"]),
        ("if x:\n    y\nelif TYPE_CHECKING:\n    import a.one\nelse:\n    import a.two", ["a/two.py"]),
        ("import ab.one", []),
    ],
)
def test_what_a_module_imports_however_it_says_so(tmp_path: Path, text: str, found: list[str]) -> None:
    assert reached(tmp_path, {**MORE, "ab/one.py": "", "a/start.py": text}) == found


def test_relative_imports_start_from_the_package_that_the_module_lies_in(tmp_path: Path) -> None:
    files = {
        "b/__init__.py": "from .sub import deep",
        "b/sub/__init__.py": "from .deep import x",
        "b/sub/deep.py": "from ..near import y\nfrom . import beside",
        "b/sub/beside.py": "from ... import too_high",
        "b/near.py": "",
        "b/deep.py": "",
        "a/start.py": "import b",
    }
    expected = ["b/__init__.py", "b/near.py", "b/sub/__init__.py", "b/sub/beside.py", "b/sub/deep.py"]
    assert reached(tmp_path, files) == expected


def test_a_package_runs_what_its_parents_import_and_a_folder_without_init_is_passed(tmp_path: Path) -> None:
    files = {
        "b/__init__.py": "from a import one",
        "b/space/deep.py": "",
        "a/one.py": "",
        "a/start.py": "import b.space.deep",
    }
    assert reached(tmp_path, files) == ["a/one.py", "b/__init__.py", "b/space/deep.py"]


def test_a_package_goes_before_a_module_of_its_name(tmp_path: Path) -> None:
    assert reached(tmp_path, {"a/x.py": "", "a/x/__init__.py": "", "a/start.py": "import a.x"}) == ["a/x/__init__.py"]


def test_circles_of_imports_end(tmp_path: Path) -> None:
    files = {"a/start.py": "import a.one", "a/one.py": "import a.two", "a/two.py": "import a.start, a.one, a.two"}
    assert reached(tmp_path, files) == ["a/one.py", "a/two.py"]


def test_what_is_left_out_is_not_followed_but_counts_where_something_else_imports_it(tmp_path: Path) -> None:
    files = {
        "a/start.py": "import a.shown, a.one, b.sub.deep",
        "a/shown.py": "import a.behind, a.two",
        "a/behind.py": "",
        "a/one.py": "import a.two",
        "a/two.py": "",
        "b/__init__.py": "",
        "b/sub/__init__.py": "import b.other",
        "b/sub/deep.py": "import a.behind",
        "b/subway.py": "",
        "b/other.py": "",
    }
    assert reached(tmp_path, files, ["a.shown", "b.sub.*"]) == ["a/one.py", "a/two.py", "b/__init__.py"]
    files["a/start.py"] += ", b.subway"
    assert "b/subway.py" in reached(tmp_path, files, ["a.shown", "b.sub.*"])
    # `b.sub` alone is that module: what lies below it still counts.
    alone = ["a/behind.py", "a/one.py", "a/two.py", "b/__init__.py", "b/sub/deep.py", "b/subway.py"]
    assert reached(tmp_path, files, ["a.shown", "b.sub"]) == alone


def test_a_left_out_package_is_left_out_itself(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {}, ["a.b.*", "a.c"])
    named = ("a", "a.b", "a.b.x", "a.b.x.y", "a.bc", "a.c", "a.c.x")
    assert [name for name in named if tree.is_left_out(name)] == ["a.b", "a.b.x", "a.b.x.y", "a.c"]


def test_the_lock_changes_when_a_module_that_was_missing_appears(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {"a/__init__.py": "", "a/start.py": "from a import later"})
    before = tree.lock("a.start")
    (tmp_path / "a/later.py").write_text("")
    after = tree.lock("a.start")
    assert before.changes(after) == ["a/later.py"]
    (tmp_path / "a/later.py").unlink()
    assert tree.lock("a.start") == before


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"x = 1\ny = (2\n", "a/one.py:2: '(' was never closed; fix it"),
        (b"def f():\npass\n", "a/one.py:2: expected an indented block"),
        (b"x = 1\n\n  y = 2\n", "a/one.py:3: unexpected indent; fix it"),
        (b"x = 'caf\xe9'\n", "a/one.py:1: (unicode error) 'utf-8' codec"),
        (b"# coding: klingon\n", "a/one.py: unknown encoding: klingon; fix it"),
        (b"x\0 = 1\n", "a/one.py: source code string cannot contain null bytes; fix it"),
        (b"x = 1" + b"0" * 5000, "a/one.py:1: Exceeds the limit"),
        (b"x = " + b"-" * 100_000 + b"1", "a/one.py: is nested too deeply for Python to parse; fix it"),
        (b"x = " + b"+".join([b"a"] * 30_000), "a/one.py: is nested too deeply for Python to parse; fix it"),
    ],
)
def test_what_is_no_python_is_told_in_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    tree = tree_of(tmp_path, {"a/__init__.py": "", "a/start.py": "import a.one"})
    (tmp_path / "a/one.py").write_bytes(content)
    with pytest.raises(CodeError) as raised:
        tree.lock("a.start")
    assert str(raised.value).startswith(line) and "\n" not in str(raised.value)


def test_a_module_that_is_not_there_has_no_lock(tmp_path: Path) -> None:
    for name in ("a.start", "json", ""):
        with pytest.raises(CodeError, match=f"^{name}: no such module in .*; put it back"):
            tree_of(tmp_path, {}).lock(name)


def test_a_lock_of_several_modules_is_of_all_that_they_reach_and_names_them(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {**MORE, "a/__init__.py": "", "a/start.py": "import a.one", "a/part.py": "import a.two"})
    alone, both = tree.lock("a.start"), tree.lock("a.start", ["a.part"])
    assert set(both.modules) - set(alone.modules) == {"a/part.py", "a/two.py"}
    assert (alone.parts, both.parts) == ((), ("a.part",))
    assert "parts" not in json.loads(alone.text()) and json.loads(both.text())["parts"] == ["a.part"]
    assert parse_lock(both.text(), "x") == both
    assert tree.paths_to("a.start", ["a.part"])["a/two.py"] == ("a/part.py", "a/two.py")
    with pytest.raises(CodeError, match=r"^a\.gone: no such module in .*; put it back, or check the name$"):
        tree.lock("a.start", ["a.gone"])


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("import a.gone", ["a.gone"]),
        ("import a.gone.more", ["a.gone.more"]),
        ("from a import gone", ["a.gone"]),
        ("from a import one, gone as x", ["a.gone"]),
        ("from a.gone import f", ["a.gone"]),
        ("from .gone import f", ["a.gone"]),
        ("from . import gone", ["a.gone"]),
        ("def f():\n    import a.gone", ["a.gone"]),
        ("from b.gone import f", ["b.gone"]),
        ("from a.space import x, gone", ["a.space.gone"]),
        ("from a import one\nfrom a.one import f\nfrom a import *\nimport a.space\nfrom a import space", []),
        ("from b import gone, name", []),  # which b may define
        ("try:\n    import a.gone\nexcept ImportError:\n    from a import gone", []),
        ("import_module('a.gone')", []),
        ("if TYPE_CHECKING:\n    import a.gone", []),
        ("import other.gone", []),
    ],
)
def test_what_is_imported_and_not_there_is_named(tmp_path: Path, text: str, gone: list[str]) -> None:
    files = {"a/__init__.py": '"""Text."""', "a/one.py": "", "a/space/x.py": "", "b/__init__.py": "name = 1"}
    tree = tree_of(tmp_path, {**files, "a/start.py": "import a.other", "a/other.py": text})
    assert tree.missing(tree.lock("a.start")) == dict.fromkeys(gone, "a/other.py")


def test_changes_names_modules_that_changed_came_and_went_and_libraries_with_both_versions() -> None:
    first = CodeLock(
        "a.start", {"torch": "2.14.0", "numpy": "2.4", "cv2": "5"}, {"a/x.py": "1", "a/y.py": "2", "a/z.py": "3"}
    )
    later = CodeLock(
        "a.start", {"torch": "2.15.0", "numpy": "2.4", "PIL": "1"}, {"a/x.py": "1", "a/z.py": "4", "a/w.py": "5"}
    )
    assert first.changes(first) == []
    changed = ["a/w.py", "a/y.py", "a/z.py"]
    assert first.changes(later) == [*changed, "PIL none to 1", "cv2 5 to none", "torch 2.14.0 to 2.15.0"]
    assert later.changes(first) == [*changed, "PIL 1 to none", "cv2 none to 5", "torch 2.15.0 to 2.14.0"]


def test_equal_locks_have_equal_texts_and_texts_are_read_back() -> None:
    one = CodeLock("a.start", {"x": "1", "y": "2"}, {"a/x.py": "1", "a/y.py": "2"})
    two = CodeLock("a.start", {"y": "2", "x": "1"}, {"a/y.py": "2", "a/x.py": "1"})
    assert one.text() == two.text() and one.digest == two.digest and len(one.digest) == 32
    assert parse_lock(one.text(), "here") == one
    others = (
        CodeLock("a.other", one.libraries, one.modules),
        CodeLock("a.start", {"x": "1"}, one.modules),
        CodeLock("a.start", one.libraries, {"a/x.py": "1", "a/y.py": "3"}),
    )
    assert len({lock.digest for lock in (one, *others)}) == 4


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "{}", "[" * 100_000, "\xff"),
        '{"module": "a", "libraries": 1, "modules": {}}',
        '{"module": "a", "libraries": [["torch", "1"]], "modules": {}}',
        '{"module": "a", "libraries": {"torch": 1}, "modules": {}}',
        '{"module": "a", "libraries": {}, "modules": {"a.py": null}}',
        '{"module": 1, "libraries": {}, "modules": {}}',
    ],
)
def test_what_is_no_lock_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CodeError, match=f"^{path}: is not a code lock$"):
        read_lock(path)


def test_a_lock_that_is_missing_or_a_folder_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match=r"no such code lock$"):
        read_lock(tmp_path / "none.json")
    with pytest.raises(CodeError, match="Is a directory"):
        read_lock(tmp_path)


CHAINS = {
    "a/__init__.py": "",
    "a/start.py": "import a.one, a.two",
    "a/one.py": "import a.three",
    "a/two.py": "import a.four",
    "a/three.py": "import a.four, a.start",
    "a/four.py": "import b.five",
    "b/__init__.py": "",
    "b/five.py": "import a.shown",
    "a/shown.py": "",
    "a/beside.py": "",
}


def test_paths_to_gives_a_shortest_chain_to_every_module_of_the_closure(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, CHAINS, ["a.shown"])
    chains = tree.paths_to("a.start")
    assert chains.keys() == tree.lock("a.start").modules.keys()
    assert chains["a/start.py"] == ("a/start.py",)
    assert chains["a/four.py"] == ("a/start.py", "a/two.py", "a/four.py")
    assert chains["b/five.py"] == ("a/start.py", "a/two.py", "a/four.py", "b/five.py")
    assert chains["b/__init__.py"] == ("a/start.py", "a/two.py", "a/four.py", "b/__init__.py")
    assert tree.paths_to("a.gone") == {}


def test_unlocked_are_modules_that_no_lock_names_and_nothing_left_out_imports(tmp_path: Path) -> None:
    files = {**CHAINS, "a/shown.py": "import a.behind", "a/behind.py": "", "b/out/__init__.py": "", "b/out/x.py": ""}
    tree = tree_of(tmp_path, files, ["a.shown", "b.out.*"])
    lock = tree.lock("a.start")
    beside = ["a.shown", "a.behind", "b.out", "b.out.x", "json", "a.gone", "__main__", "numpy"]
    assert tree.unlocked(lock, ["a", "a.start", "a.one", "b.five", *beside]) == []
    assert tree.unlocked(lock, ["a.two", "a.beside", *beside]) == ["a/beside.py"]
    assert tree.unlocked(CodeLock("a.start", {}, {}), ["a.two", "a.start", "b", "a.shown"]) == [
        "a/start.py",
        "a/two.py",
    ]


def test_unlocked_looks_at_the_modules_of_this_process_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tree_of(tmp_path, CHAINS)
    assert tree.unlocked(tree.lock("a.start")) == []
    monkeypatch.setitem(sys.modules, "a.beside", types.ModuleType("a.beside"))
    assert tree.unlocked(tree.lock("a.start")) == ["a/beside.py"]


def test_an_edit_of_what_is_left_out_is_no_matter_even_halfway(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, CHAINS, ["a.shown"])
    lock = tree.lock("a.start")
    (tmp_path / "a/shown.py").write_text("def (")
    assert tree.lock("a.start") == lock
    assert tree.unlocked(lock, ["a.start", "a.shown"]) == []
    assert tree.unlocked(lock, ["a.start", "a.shown", "a.beside"]) == ["a/beside.py"]

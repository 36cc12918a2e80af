"""Nothing half-written is ever visible, and what was there before stays until its successor is whole."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.artifacts import atomic
from pipeline.artifacts.atomic import atomic_file, atomic_folder, write_json_list, write_text
from pipeline.runtime.errors import InputError
from pipeline.runtime.locking import try_lock


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_under_its_name_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with atomic_file(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
        assert not path.exists()
    assert names(tmp_path) == ["table.parquet"]
    assert path.read_text() == "whole"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_the_former_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "table.parquet"
    path.write_text("former")
    with pytest.raises(error), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert names(tmp_path) == ["table.parquet"]
    assert path.read_text() == "former"


def test_a_block_that_writes_nothing_fails_and_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_text("former")
    with pytest.raises(FileNotFoundError), atomic_file(path):
        pass
    assert path.read_text() == "former"


def test_text_is_written_as_utf8_over_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    write_text(path, "a much longer former text")
    write_text(path, "Füße\n")
    assert path.read_bytes() == "Füße\n".encode()
    assert names(tmp_path) == ["classes.json"]


def test_folder_takes_the_place_of_the_former_one_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "data" / "resize"
    with atomic_folder(path) as temporary:
        (temporary / "old").write_text("old")
        assert not path.exists()
    with atomic_folder(path) as temporary:
        assert names(temporary) == []
        (temporary / "new").write_text("new")
        assert names(path) == ["old"]
    assert names(path) == ["new"]
    assert names(path.parent) == ["resize"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_the_former_folder_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "resize"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(error), atomic_folder(path) as temporary:
        (temporary / "half").write_text("half")
        raise error
    assert names(tmp_path) == ["resize"]
    assert names(path) == ["old"]


def test_what_a_killed_run_left_is_cleared_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "resize"
    (tmp_path / ".resize.partial/part").mkdir(parents=True)
    (tmp_path / ".resize.partial/part/half").write_text("half")
    (tmp_path / ".resize.partial/half").write_text("half")
    with atomic_folder(path) as temporary:
        (temporary / "new").write_text("new")
    assert names(path) == ["new"]
    assert names(tmp_path) == ["resize"]


def test_a_second_writer_of_a_folder_is_refused_in_one_line_and_disturbs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "_PATIENCE", 0.0)
    path = tmp_path / "resize"
    with atomic_folder(path, "key") as temporary:
        (temporary / "first").write_text("first")
        for key in (None, "key", "other"):
            with (
                pytest.raises(InputError, match=r"resize: another process is writing it; wait for it, or stop it$"),
                atomic_folder(path, key),
            ):
                raise AssertionError("two writers")
    assert names(path) == ["first"]
    with atomic_folder(path) as temporary:
        (temporary / "next").write_text("next")
    assert names(path) == ["next"]
    assert names(tmp_path) == ["resize"]


def test_a_run_that_can_resume_waits_for_what_is_left_of_a_killed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / ".resize.partial"
    temporary.mkdir()
    left = try_lock(os.open(temporary, os.O_RDONLY))
    assert left is not None
    monkeypatch.setattr(atomic.time, "sleep", lambda seconds: os.close(left))
    with atomic_folder(tmp_path / "resize", "key") as folder:
        (folder / "new").touch()
    assert names(tmp_path / "resize") == ["new"]


def test_one_that_has_waited_may_begin_while_the_former_folder_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with atomic_folder(tmp_path / "out", "key") as out:
        (out / "a").write_text("first")
    remove = shutil.rmtree

    def beside_another(folder: Path, *args: Any, **kwargs: Any) -> None:
        if Path(folder).name == ".out.retired" and Path(folder).exists():
            remove(folder)  # as the other one does
        remove(folder, *args, **kwargs)

    monkeypatch.setattr(atomic.shutil, "rmtree", beside_another)
    with atomic_folder(tmp_path / "out", "other key") as out:
        (out / "a").write_text("second")
    assert (tmp_path / "out/a").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_former_folder_that_cannot_be_removed_is_named_before_the_next_run_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, rmdir = tmp_path / ".out.retired", os.rmdir
    (stuck / "part").mkdir(parents=True)

    def refuse(path: str, **kwargs: Any) -> None:
        if Path(path).name == "part":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        rmdir(path, **kwargs)

    monkeypatch.setattr(os, "rmdir", refuse)
    with pytest.raises(OSError, match="busy"), atomic_folder(tmp_path / "out", "key"):
        raise AssertionError("it computes")
    monkeypatch.undo()
    with atomic_folder(tmp_path / "out", "key"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_after_a_wait_in_vain_the_line_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([0.0, 4.9, 5.1])
    monkeypatch.setattr(atomic, "time", SimpleNamespace(monotonic=lambda: next(seconds), sleep=lambda _: None))
    line = r"resize: another process is writing it, and has been for 5 s; wait for it, or stop it$"
    (tmp_path / ".resize.partial").mkdir()
    first = try_lock(os.open(tmp_path / ".resize.partial", os.O_RDONLY))
    assert first is not None
    with pytest.raises(InputError, match=line), atomic_folder(tmp_path / "resize", "key"):
        raise AssertionError("two writers")
    os.close(first)


@pytest.mark.parametrize("items", [[], [{"a": 1}], [{"a": [1.5, None]}, "b\n", 3]])
def test_a_list_is_written_item_by_item_as_json_writes_it_whole(tmp_path: Path, items: list[object]) -> None:
    write_json_list(tmp_path / "list.json", iter(items))
    assert (tmp_path / "list.json").read_text() == json.dumps(items) + "\n"
    assert names(tmp_path) == ["list.json"]

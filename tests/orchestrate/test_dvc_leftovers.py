"""What a killed dvc leaves is cleared: a dvc.lock cut off anywhere, what it had begun in its run-cache."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA

from pipeline.orchestrate.dvc_leftovers import mend_lock_file, mend_run_cache, torn_locks
from pipeline.runtime.errors import InputError

FILE = {"hash": "md5", "md5": "0123456789abcdef0123456789abcdef.dir", "size": 12345, "nfiles": 3}
LOCK = {
    "schema": "2.0",
    "stages": {
        name: {
            "cmd": f"python -m stages.{name} --params base --out data/{name}",
            "deps": [{"path": f"stages/{name}.py", **FILE}, {"path": "data/raw", **FILE}],
            "params": {"params.yaml": {"base": {"seed": 0, "threads": 2}, f"{name}.classes": None}},
            "outs": [{"path": f"data/{name}", **FILE}],
        }
        for name in ("dataset", "resize", "features")
    },
}


@pytest.fixture
def text() -> str:
    return yaml.safe_dump(LOCK, sort_keys=False, indent=2)


def test_a_whole_lock_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dvc.lock"
    assert mend_lock_file(tmp_path) == "" and not path.exists()
    path.write_text(text)
    assert mend_lock_file(tmp_path) == ""
    assert path.read_text() == text


@pytest.mark.parametrize("place", ["first", "last"])
def test_stages_of_a_users_own_without_outputs_or_of_another_place_are_no_tear(
    tmp_path: Path, text: str, place: str
) -> None:
    (tmp_path / "dvc.yaml").write_text("stages:\n  notify: {cmd: mail, deps: [data/features]}\n")
    own = {"cmd": "mail", "deps": [{"path": "data/features", **FILE}]}
    remote = {"cmd": "fetch", "deps": [{"path": "s3://bucket/a", "etag": "1", "size": 1}], "outs": []}
    stages = dict(LOCK["stages"])
    stages = {"notify": own, "remote": remote, **stages} if place == "first" else {**stages, "notify": own}
    text = yaml.safe_dump({"schema": "2.0", "stages": stages}, sort_keys=False, indent=2)
    (tmp_path / "dvc.lock").write_text(text)
    assert mend_lock_file(tmp_path) == ""
    assert (tmp_path / "dvc.lock").read_text() == text and not torn_locks(tmp_path)


def test_a_lock_cut_off_anywhere_keeps_its_whole_stages_and_the_torn_file(tmp_path: Path, text: str) -> None:
    path, torn, told, kept = tmp_path / "dvc.lock", tmp_path / "dvc.lock.torn", set(), set()
    (tmp_path / "dvc.yaml").write_text("stages:\n  features: {cmd: x, outs: [data/features]}\n")
    for length in range(0, len(text), 13):
        path.write_text(text[:length])
        told.add(mend_lock_file(tmp_path))
        assert torn.read_text() == text[:length]
        torn.unlink()
        if not path.exists():
            kept.add(0)
            continue
        lock = yaml.safe_load(path.read_text())
        COMPILED_LOCKFILE_SCHEMA(lock)
        names = list(lock["stages"])
        kept.add(len(names))
        assert lock["stages"] == {name: LOCK["stages"][name] for name in list(LOCK["stages"])[: len(names)]}
    assert kept == {0, 1, 2}
    start = "dvc.lock was torn by a killed dvc; "
    rest = " kept, DVC's run-cache has the others; dvc.lock.torn is the torn file"
    assert f"{start}2 stages of it are{rest}" in told
    assert f"{start}1 stage of it are{rest}; it alone names resize, which dvc.yaml does not have" in told


def test_a_second_torn_lock_is_kept_beside_the_first(tmp_path: Path, text: str) -> None:
    for length in (100, 50):
        (tmp_path / "dvc.lock").write_text(text[:length])
        mend_lock_file(tmp_path)
    assert [path.read_text() for path in torn_locks(tmp_path)] == [text[:100], text[:50]]


def test_a_merge_that_is_left_to_a_person_is_not_mended(tmp_path: Path, text: str) -> None:
    merged = text.replace("  resize:\n", "<<<<<<< HEAD\n  resize:\n") + "=======\n>>>>>>> other\n"
    (tmp_path / "dvc.lock").write_text(merged)
    with pytest.raises(InputError, match=r"dvc\.lock: line \d+ is a conflict marker of git; solve the merge [^\n]+$"):
        mend_lock_file(tmp_path)
    assert (tmp_path / "dvc.lock").read_text() == merged and torn_locks(tmp_path) == []


def test_a_lock_of_zeros_as_a_power_cut_leaves_it_is_removed(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_bytes(bytes(5000))
    assert "0 stages of it are kept" in mend_lock_file(tmp_path)
    assert not (tmp_path / "dvc.lock").exists()


@pytest.mark.parametrize("place", ["", "../../elsewhere"])
def test_what_was_begun_in_the_run_cache_goes_and_what_others_may_be_writing_stays(tmp_path: Path, place: str) -> None:
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc/config").write_text("[core]\n    analytics = false\n")
    if place:
        (root / ".dvc/config.local").write_text(f"[cache]\n    dir = {place}\n")
    runs = (tmp_path / "elsewhere" if place else root / ".dvc/cache") / "runs"
    whole, torn, empty, young = (runs / (digit * 2) / (digit * 64) for digit in "abcd")
    for folder in (whole, torn, empty, young):
        folder.mkdir(parents=True)
    (whole / ("0" * 64)).write_text("cmd: whole")
    (torn / ".tmp.123").write_text("cm")
    for path in (torn / ".tmp.123", torn, empty):
        os.utime(path, (time.time() - 3600,) * 2)
    mend_run_cache(root)
    assert (whole / ("0" * 64)).read_text() == "cmd: whole"
    assert not (torn / ".tmp.123").exists()
    assert not empty.exists()
    assert torn.exists() == bool(place)
    assert young.exists() == bool(place)
    mend_run_cache(tmp_path / "no project")

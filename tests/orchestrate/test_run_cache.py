"""The first result under a key counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from dvc.fs import LocalFileSystem
from dvc.repo import Repo

from pipeline.orchestrate.lock_entries import key_of, value_of
from pipeline.orchestrate.run_cache import Results, shared_results
from pipeline.runtime.errors import InputError


def entry_of(digest: str) -> dict[str, Any]:
    return {
        "cmd": "python -m stages.resize",
        "deps": [{"path": "data/dataset", "hash": "md5", "md5": "a" * 32, "size": 5}],
        "params": {"params.yaml": {"resize": {"rule": "fixed"}}},
        "outs": [{"path": "data/resize", "hash": "md5", "md5": digest * 32, "size": 7}],
    }


FIRST, SECOND = entry_of("b"), entry_of("c")
KEY = key_of(FIRST)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(LocalFileSystem(), str(tmp_path))


def place(tmp_path: Path) -> Path:
    return tmp_path / "runs" / KEY[:2] / KEY


def test_what_nobody_has_made_is_not_there(results: Results) -> None:
    assert results.first(KEY) is None


def test_a_result_is_kept_under_dvcs_own_name_for_it(results: Results, tmp_path: Path) -> None:
    kept = results.keep(FIRST)
    assert (kept.entry, kept.is_second) == (FIRST, False)
    assert results.first(KEY) == FIRST
    assert [path.name for path in place(tmp_path).iterdir()] == [value_of(FIRST)]


def test_the_same_once_more_is_no_second_result(results: Results) -> None:
    results.keep(FIRST)
    assert not results.keep(FIRST).is_second


def test_a_second_result_is_told_and_not_kept(results: Results, tmp_path: Path) -> None:
    results.keep(FIRST)
    kept = results.keep(SECOND)
    assert (kept.entry, kept.is_second) == (FIRST, True)
    assert [path.name for path in place(tmp_path).iterdir()] == [value_of(FIRST)]


def test_one_that_dvc_has_written_beside_an_older_one_is_dropped(results: Results, tmp_path: Path) -> None:
    results.keep(FIRST)
    os.utime(place(tmp_path) / value_of(FIRST), (1, 1))
    text = (place(tmp_path) / value_of(FIRST)).read_text()
    (place(tmp_path) / value_of(SECOND)).write_text(text.replace("b" * 32, "c" * 32))
    assert results.first(KEY) == FIRST
    assert results.keep(SECOND).is_second
    assert results.first(KEY) == FIRST


@pytest.mark.parametrize("content", [b"", b"cmd: [", b"\xff"])
def test_a_torn_file_counts_for_nothing(results: Results, tmp_path: Path, content: bytes) -> None:
    results.keep(FIRST)
    (place(tmp_path) / value_of(FIRST)).write_bytes(content)
    assert results.first(KEY) is None
    assert results.keep(SECOND).entry == SECOND
    assert results.first(KEY) == SECOND


def test_the_only_result_can_be_replaced(results: Results) -> None:
    results.keep(FIRST)
    results.replace(KEY, SECOND)
    assert results.first(KEY) == SECOND


def test_a_remote_that_needs_another_package_is_one_line_that_names_it(tmp_path: Path) -> None:
    with Repo.init(str(tmp_path), no_scm=True) as repo, repo.config.edit() as config:
        config["core"]["remote"] = "store"
        config["remote"]["store"] = {"url": "oss://bucket/frcnn"}
    with Repo(str(tmp_path)) as repo, pytest.raises(InputError, match=r"^the remote store: .*dvc-oss.* every clone$"):
        shared_results(repo)

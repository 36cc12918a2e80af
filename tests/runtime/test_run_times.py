"""The notes on when stages ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime import run_times
from pipeline.runtime.run_times import read_runs, record_run
from tests.conftest import Project


def test_every_stage_of_a_run_is_noted_with_its_time_and_memory(tiny_run: Project) -> None:
    runs = read_runs(tiny_run.root)
    assert set(runs) == set(tiny_run.lock()) - {"code"}  # which always runs
    assert all(run.seconds > 0 and run.peak_mb > 20 and run.started > 1.6e9 for run in runs.values())
    assert runs["train_head_step4"].started > runs["train_rpn_step1"].started


def test_the_last_run_counts_and_a_damaged_note_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    record_run(tmp_path, "resize", 1.0, 2.0)
    record_run(tmp_path, "resize", 5.0, 3.0)
    record_run(tmp_path, "features", 6.0, 1.0)
    (tmp_path / ".dvc/tmp/frcnn-stages/features.json").write_text('{"seconds": ')
    runs = read_runs(tmp_path)
    assert set(runs) == {"resize"} and (runs["resize"].started, runs["resize"].seconds) == (5.0, 3.0)


def test_outside_of_a_dvc_repository_nothing_is_written(tmp_path: Path) -> None:
    record_run(tmp_path, "resize", 1.0, 2.0)
    assert not list(tmp_path.iterdir()) and read_runs(tmp_path) == {}


def test_a_disk_that_takes_no_notes_fails_no_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / ".dvc").mkdir()
    monkeypatch.setattr(run_times, "write_text", full)
    record_run(tmp_path, "resize", 1.0, 2.0)
    assert read_runs(tmp_path) == {}

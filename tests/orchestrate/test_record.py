"""The record of the last flow comes back as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.orchestrate.record import StageRecord, read_record, write_record


def test_a_record_comes_back_as_it_was_written_and_the_last_counts(tmp_path: Path) -> None:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    stages = {
        "resize": StageRecord("data", "completed", 1.5, 2, {"spawned": 0.25, "ended": 1.75}),
        "features": StageRecord("step 3"),
    }
    write_record(tmp_path, 9.0, {"resize": StageRecord("data", "failed")})
    write_record(tmp_path, 2.5, stages)
    assert read_record(tmp_path) == (2.5, stages)
    assert list(read_record(tmp_path)[1]) == ["resize", "features"]


def test_before_the_first_flow_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path)

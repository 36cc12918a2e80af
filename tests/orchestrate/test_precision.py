"""One line where bf16 is asked for and neither a GPU nor instructions are there, or float32 of a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.orchestrate import precision
from pipeline.orchestrate.slots import Slots
from pipeline.presets.apply import apply_preset
from tests.defaults import copy_graphs


@pytest.mark.parametrize(
    ("asked", "has_bf16", "gpus", "remedy"),
    [
        ("bf16", False, (), "base.precision=float32"),
        ("bf16", True, (), None),
        ("bf16", False, ("GPU-1",), None),
        ("float32", False, (), None),
        ("float32", True, ("GPU-1",), "base.precision=tf32"),
        ("tf32", True, ("GPU-1",), None),
    ],
)
def test_a_slow_precision_is_reported(
    asked: str,
    has_bf16: bool,
    gpus: tuple[str, ...],
    remedy: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy_graphs(tmp_path)
    apply_preset(tmp_path, "default", [f"base.precision={asked}"])
    monkeypatch.setattr(precision, "has_bf16", lambda: has_bf16)
    monkeypatch.setattr(precision, "slots_of_this_machine", lambda: Slots(gpus, 2))
    line = precision.slow_precision(tmp_path)
    assert (line is None) == (remedy is None)
    if line is not None and remedy is not None:
        assert "\n" not in line and remedy in line


def test_parameters_that_cannot_be_read_are_left_to_the_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    assert precision.slow_precision(tmp_path) is None

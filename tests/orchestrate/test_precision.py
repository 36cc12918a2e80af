"""A processor without bf16 instructions: one line, and only where bf16 is asked for and no GPU is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.orchestrate import precision
from pipeline.orchestrate.slots import Slots
from pipeline.presets.apply import apply_preset


@pytest.mark.parametrize(
    ("asked", "has_bf16", "gpus", "told"),
    [
        ("bf16", False, (), True),
        ("bf16", True, (), False),
        ("bf16", False, ("GPU-1",), False),
        ("float32", False, (), False),
    ],
)
def test_slow_bf16_is_told(
    asked: str, has_bf16: bool, gpus: tuple[str, ...], told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply_preset(tmp_path, "default", [f"base.precision={asked}"])
    monkeypatch.setattr(precision, "has_bf16", lambda: has_bf16)
    monkeypatch.setattr(precision, "slots_of_this_machine", lambda: Slots(gpus, 2))
    line = precision.slow_precision(tmp_path)
    assert (line is not None) == told
    if line is not None:
        assert "\n" not in line and "base.precision=float32" in line


def test_parameters_that_cannot_be_read_are_left_to_the_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda: False)
    assert precision.slow_precision(tmp_path) is None

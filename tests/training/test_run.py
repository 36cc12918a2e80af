"""A training as a stage runs it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import Accelerator

from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.runtime.errors import StartedOtherwise
from pipeline.runtime.variables import EVERY_ITERATIONS, LOADERS
from pipeline.training.run import run_training
from tests.killed import Killed
from tests.training.toy import PLAN, SOLVER, Net, batch


def test_a_wrong_number_of_loaders_ends_a_training_before_it_resumes(
    tmp_path: Path, accelerator: Accelerator, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EVERY_ITERATIONS, "4")
    monkeypatch.setattr("pipeline.training.resumable.run_key", lambda *_: "key")
    stage: Any = SimpleNamespace(
        name="train_rpn_step1",
        out=tmp_path / "out",
        scratch=tmp_path / "scratch",
        bad_batches=None,
        params=None,
        inputs={},
        code=None,
        kernels={},
        log=lines.append,
    )

    def killed_at_6(iteration: int) -> Batch:
        if iteration == 6:
            raise Killed
        return batch(iteration)

    with pytest.raises(Killed):
        run_training(Net(), killed_at_6, PLAN, SOLVER, accelerator, stage)
    assert list((tmp_path / "scratch").rglob("state-*.json"))
    lines.clear()
    monkeypatch.setenv(LOADERS, "two")
    with pytest.raises(StartedOtherwise, match=f"^{LOADERS}=two: "):
        run_training(Net(), batch, PLAN, SOLVER, accelerator, stage)
    assert lines == []

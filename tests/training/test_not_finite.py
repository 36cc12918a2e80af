"""A loss or a weight that is not finite ends a training: the batch is kept, and so is the state before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.runtime.errors import InputError
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.loop import train
from tests.training.toy import PLAN, SOLVER, Net, batch, batches


def test_no_state_is_written_of_a_training_whose_loss_was_not_finite(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Net.forward

    def breaking(self: Net, own: Batch) -> dict[str, Tensor]:
        return {name: loss / (own.seeds[0] != 5) for name, loss in forward(self, own).items()}

    monkeypatch.setattr(Net, "forward", breaking)
    with pytest.raises(InputError, match="not finite at iteration 5 on image5"):
        run(solver=SOLVER.model_copy(update={"log_every": 1000}))
    assert [path.name for path in sorted((tmp_path / "states/key").iterdir())] == [
        f"state-000000004.{kind}" for kind in ("json", "safetensors")
    ]
    state = Checkpoints(tmp_path / "states", "key", print).last()
    assert state and all(tensor.isfinite().all() for tensor in state.tensors.values())


def test_no_state_is_written_of_weights_that_are_not_finite(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Net.forward

    def steep(self: Net, own: Batch) -> dict[str, Tensor]:
        losses = forward(self, own)
        return {**losses, "steep": (self.conv.weight.sum() * 0).sqrt()} if own.seeds[0] == 7 else losses

    monkeypatch.setattr(Net, "forward", steep)
    with pytest.raises(InputError, match="not finite after 8 iterations"):
        run(solver=SOLVER.model_copy(update={"clip_norm": 0.0, "log_every": 1}))
    assert [path.name for path in sorted((tmp_path / "states/key").iterdir())] == [
        f"state-000000004.{kind}" for kind in ("json", "safetensors")
    ]


def test_a_loss_that_is_not_finite_keeps_its_batch(tmp_path: Path) -> None:
    class Broken(Net):
        def forward(self, own: Batch) -> dict[str, Tensor]:
            losses = super().forward(own)
            return {**losses, "shift": losses["shift"] / (0.0 if own.seeds[0] == 5 else 1.0)}

    with pytest.raises(
        InputError, match=r"not finite at iteration 5 on image5, image5 .* whose batch is in .*"
    ) as error:
        train(
            Broken(),
            batches,
            PLAN,
            SOLVER,
            Accelerator(cpu=True),
            stage="train_head_step2",
            on_iteration=lambda loss: None,
            keep_bad_batch_in=tmp_path / "bad",
        )
    path = tmp_path / "bad/train_head_step2-5.safetensors"
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    maps = batch(5).views.maps
    assert maps is not None and torch.equal(load_file(path)["views.maps.0"], *maps)

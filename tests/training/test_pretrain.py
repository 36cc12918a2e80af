"""Pre-training cut short at any iteration ends with the same bytes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from pipeline.building.trunk import new_trunk
from pipeline.datasets.crops import shape_crops
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.backbone import BackboneParams, Pretrain
from pipeline.runtime.errors import InputError
from pipeline.training.checkpoints import EVERY_ITERATIONS, Checkpoints
from pipeline.training.pretrain import pretrain_trunk
from tests.killed import Killed

PLAN = Pretrain(images=20, crops_per_iteration=8, crop_size=32, iterations=9, lr=0.1)


def fresh_trunk() -> Trunk:
    trunk = new_trunk(BackboneParams(name="tiny", weights="pretrain", frozen_stages=2, ceil_pool=False, pretrain=PLAN))
    trunk.initialise(torch.Generator().manual_seed(1))
    return trunk


def pretrain(accelerator: Accelerator, folder: Path | None, kill_after: int = 99, lr: float = 0.1):  # type: ignore[no-untyped-def]
    trunk, losses, resumed = fresh_trunk(), [], []
    crops, labels = shape_crops(PLAN.images, PLAN.crop_size, 5)

    def note(loss: float) -> None:
        losses.append(loss)
        if len(losses) == kill_after:
            raise Killed

    accuracy = pretrain_trunk(
        trunk,
        torch.from_numpy(crops).permute(0, 3, 1, 2),
        torch.from_numpy(labels),
        PLAN.model_copy(update={"lr": lr}),
        7,
        accelerator,
        note,
        Checkpoints(folder, "key", print) if folder else None,
        resumed.append,
    )
    return trunk.state_dict(), accuracy, losses, resumed


@pytest.mark.parametrize("kills", [(3,), (5, 4), (3, 3, 3)])
def test_a_killed_pre_training_goes_on_and_ends_with_the_same_bits(
    accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: tuple[int, ...]
) -> None:
    monkeypatch.setenv(EVERY_ITERATIONS, "2")
    weights, accuracy, losses, _ = pretrain(accelerator, None)
    for kill_after in kills:
        with pytest.raises(Killed):
            pretrain(accelerator, tmp_path, kill_after)
    again, its_accuracy, its_losses, resumed = pretrain(accelerator, tmp_path)
    assert resumed and resumed[0] > 0
    assert its_losses == losses[resumed[0] :]
    assert its_accuracy == accuracy
    assert all(torch.equal(again[name], value) for name, value in weights.items())


def test_a_loss_that_is_not_finite_names_the_rate_to_lower(accelerator: Accelerator) -> None:
    with pytest.raises(InputError, match=r"not finite at iteration \d+ .* lower backbone.pretrain.lr"):
        pretrain(accelerator, None, lr=math.sqrt(1e35))

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
from pipeline.runtime.variables import EVERY_ITERATIONS
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.pretrain import Pretraining, pretrain_trunk
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

    outcome = pretrain_trunk(
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
    return trunk.state_dict(), outcome, losses, resumed


@pytest.mark.parametrize("kills", [(3,), (5, 4), (3, 3, 3)])
def test_a_killed_pre_training_goes_on_and_ends_with_the_same_bits(
    accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: tuple[int, ...]
) -> None:
    monkeypatch.setenv(EVERY_ITERATIONS, "2")
    weights, outcome, losses, _ = pretrain(accelerator, None)
    for kill_after in kills:
        with pytest.raises(Killed):
            pretrain(accelerator, tmp_path, kill_after)
    again, its_outcome, its_losses, resumed = pretrain(accelerator, tmp_path)
    assert resumed and resumed[0] > 0
    assert its_losses == losses[resumed[0] :]
    assert its_outcome == outcome
    assert all(torch.equal(again[name], value) for name, value in weights.items())


def test_a_loss_that_is_not_finite_names_the_rate_to_lower(accelerator: Accelerator) -> None:
    with pytest.raises(InputError, match=r"not finite at iteration \d+ .* lower backbone.pretrain.lr"):
        pretrain(accelerator, None, lr=math.sqrt(1e35))


def test_a_pre_training_that_is_too_short_for_its_rate_says_so(accelerator: Accelerator) -> None:
    _, outcome, losses, _ = pretrain(accelerator, None)
    assert (outcome.first_loss, outcome.highest_loss, outcome.last_loss) == (losses[0], max(losses), losses[-1])
    assert outcome.channels == 96 and 0 <= outcome.constant <= 96
    (line,) = (line for line in outcome.remarks() if line.startswith("the loss is "))
    assert line.endswith("; raise backbone.pretrain.iterations")


@pytest.mark.parametrize(
    ("outcome", "starts"),
    [
        (Pretraining(0.98, 1.38, 6.47, 0.07, 6.5, 96), []),  # the default parameters
        (
            Pretraining(0.31, 1.38, 7.57, 1.28, 10.0, 96),
            ["the loss is 1.28 at the end, after 1.38 at first and at most"],
        ),
        (Pretraining(0.9, 1.38, 7.57, 0.2, 72.0, 96), ["72 of the trunk's 96 channels are constant within a crop, so"]),
    ],
)
def test_a_note_is_about_what_is_left_and_not_about_a_loss_that_came_down(
    outcome: Pretraining, starts: list[str]
) -> None:
    remarks = outcome.remarks()
    assert len(remarks) == len(starts)
    assert all(remark.startswith(start) for remark, start in zip(remarks, starts, strict=True))

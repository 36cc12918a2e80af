"""A training of a second, whose batches and losses depend on the iteration alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pipeline.artifacts.image_views import Entry
from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.feeding.views import Views
from pipeline.params.schedule import Schedule
from pipeline.params.solver import SolverParams

ITERATIONS = 23


class Net(nn.Module):
    """A convolution with batch norm, whose loss depends on the batch alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.views.maps is not None
        out = self.norm(self.conv(*batch.views.maps))
        return {"square": out.square().mean(), "shift": (out - batch.seeds[0] % 7).abs().mean()}


def batch(iteration: int) -> Batch:
    generator = torch.Generator().manual_seed(iteration)
    maps = torch.randn(2, 3, 9, 9, generator=generator)
    return Batch(Views([Entry(f"image{iteration}")] * 2, [(9, 9)] * 2, maps=(maps,)), [], [], [], [], [iteration])


def batches(left: range) -> Iterator[Batch]:
    return (batch(i) for i in left)


PLAN = Schedule(
    iterations=ITERATIONS, images_per_iteration=2, lr=0.05, lr_drop_at=[15], lr_drop_factor=0.1, warmup_iterations=5
)
SOLVER = SolverParams(
    momentum=0.9,
    weight_decay=0.01,
    bias_lr_factor=2.0,
    trunk_lr_factor=1.0,
    lr_decay="drops",
    clip_norm=1.0,
    log_every=4,
)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())

"""One training step of a dense detector: trunk and head, from a batch to the family's losses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from pipeline.dense.loss_checks import check_losses, no_global_draws
from pipeline.dense.maps import outputs_of
from pipeline.runtime.errors import InputError
from pipeline.runtime.torch_seeding import torch_generator

if TYPE_CHECKING:
    from pipeline.dense.batches import DenseBatch
    from pipeline.dense.contract import TrainPart
    from pipeline.dense.head import DenseHead
    from pipeline.nn.backbones.trunk import Trunk
    from pipeline.params.reading import Params


class DenseStep(nn.Module):
    """Trunk and head together.

    Args:
        part: the family's `train_dense`. params: with the sections of the part.
    """

    def __init__(self, trunk: Trunk, head: DenseHead, part: TrainPart, params: Params) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        self._part, self._params = part, params
        self._names: list[str] = []

    def forward(self, batch: DenseBatch) -> dict[str, Tensor]:
        """The family's losses by name. Draws of the head and of the losses depend only on the batch's seed.

        Raises:
            InputError: the head or the losses are not what they must be.
        """
        seed, device, source = batch.seeds[-1], self.trunk.pixel_mean.device, self._part.__name__
        own, of_losses = (torch_generator(seed, name, device=str(device)) for name in ("head", "losses"))
        with no_global_draws(source, device):
            self.head.seed(own)
            outputs, _ = outputs_of(self.trunk, self.head, batch.views)
            targets = replace(batch.targets, generator=of_losses)
            given = self._part.losses(self.head, outputs, targets, self._params)
        losses = check_losses(given, device, source, has_fg=len(targets.fg) > 0)
        if self._names and list(losses) != self._names:
            raise InputError(
                f"{source}: losses gave {', '.join(losses)}, and {', '.join(self._names)} before; give the same names "
                "each time, 0 where there is nothing to learn"
            )
        self._names = list(losses)
        return losses

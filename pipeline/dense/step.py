"""Training a dense detector: trunk and head from a batch to the family's losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from pipeline.dense.maps import outputs_of
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.dense.batches import DenseBatch
    from pipeline.dense.contract import TrainPart
    from pipeline.dense.head import DenseHead
    from pipeline.nn.backbones.trunk import Trunk
    from pipeline.params.reading import Params


# Of history.csv, beside the losses.
_COLUMNS = {"iteration", "lr", "loss"}


class DenseStep(nn.Module):
    """Trunk and head together.

    Args:
        part: the family's `train_dense`. params: with the sections of the part.
    """

    def __init__(self, trunk: Trunk, head: DenseHead, part: TrainPart, params: Params) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head
        self._part, self._params = part, params

    def forward(self, batch: DenseBatch) -> dict[str, Tensor]:
        """The family's losses by name.

        Raises:
            InputError: the head or the losses are not of the shapes that they must be, or a loss is named as
                another column of history.csv.
        """
        outputs, _ = outputs_of(self.trunk, self.head, batch.views)
        losses = dict(self._part.losses(self.head, outputs, batch.targets, self._params))
        wrong = [f"{name!r} of shape {tuple(loss.shape)}" for name, loss in losses.items() if loss.ndim]
        if wrong or not losses:
            raise InputError(f"{self._part.__name__}: losses gave {(wrong or ['nothing'])[0]}; give scalars by name")
        if taken := sorted(_COLUMNS & losses.keys()):
            raise InputError(
                f"{self._part.__name__}: losses gave {taken[0]!r}, a column that history.csv has already; give "
                "the loss another name"
            )
        return losses

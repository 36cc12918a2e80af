"""The RoI head: pooled RoI features through fc6 and fc7 to class scores and per-class deltas (Fast R-CNN, section 2).

Shapes: B images; R RoIs of the batch; D channels of the maps; C classes, background included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.geometry.layout import MapLayout
from pipeline.nn.dropout import Dropout
from pipeline.nn.linear import KeptLinear
from pipeline.nn.roi_pooling import pool_levels

# For every number of rows that a product meets oneDNN compiles and keeps another kernel, of 2 MB or so in bf16. Images
# have as many RoIs as they have; in multiples of this there are few numbers.
_ROWS_AT_ONCE = 64


class RoIHead(nn.Module):
    """RoI pooling, fc6, fc7, cls_score and bbox_pred.

    `delta_mean` and `delta_std` (C, 4) travel with the weights: bbox_pred predicts (delta - mean) / std.

    Args:
        layout: of the trunk's maps. num_classes: C.
        pool: roi_pool or roi_align. output_size: 7 in the paper.
        hidden: width of fc6 and fc7, 4096 in the paper. dropout: probability after each of them.
    """

    def __init__(
        self,
        layout: MapLayout,
        num_classes: int,
        *,
        pool: str,
        output_size: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self._pool, self._output_size, self._strides = pool, output_size, layout.strides
        self.num_classes = num_classes
        self.fc6 = KeptLinear(layout.channels * output_size**2, hidden)
        self.fc7 = KeptLinear(hidden, hidden)
        self.drop6, self.drop7 = Dropout(dropout), Dropout(dropout)
        self.cls_score = nn.Linear(hidden, num_classes)
        self.bbox_pred = nn.Linear(hidden, 4 * num_classes)
        self.delta_mean: Tensor
        self.delta_std: Tensor
        self.register_buffer("delta_mean", torch.zeros(num_classes, 4))
        self.register_buffer("delta_std", torch.ones(num_classes, 4))

    def initialise_fc(self, generator: torch.Generator) -> None:
        """Draw fresh fc6 and fc7, for trunks that bring no classifier: He's normal, biases 0."""
        for layer in (self.fc6, self.fc7):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)

    def initialise_outputs(self, generator: torch.Generator) -> None:
        """Draw fresh cls_score, N(0, 0.01), and bbox_pred, N(0, 0.001); biases 0."""
        nn.init.normal_(self.cls_score.weight, std=0.01, generator=generator)
        nn.init.normal_(self.bbox_pred.weight, std=0.001, generator=generator)
        nn.init.zeros_(self.cls_score.bias)
        nn.init.zeros_(self.bbox_pred.bias)

    def set_normalisation(self, mean: Tensor, std: Tensor) -> None:
        """Take over (C, 4) target mean and std; bbox_pred is rescaled so that decoded boxes stay as they were."""
        with torch.no_grad():
            mean, std = mean.to(self.delta_mean), std.to(self.delta_std)
            factor = (self.delta_std / std).reshape(-1)
            self.bbox_pred.weight.mul_(factor[:, None])
            self.bbox_pred.bias.mul_(factor).add_(((self.delta_mean - mean) / std).reshape(-1))
            self.delta_mean.copy_(mean)
            self.delta_std.copy_(std)

    def seed_dropout(self, generator: torch.Generator) -> None:
        """Draw the next dropout masks from `generator`."""
        self.drop6.generator = self.drop7.generator = generator

    def forward(self, maps: Sequence[Tensor], rois: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits (R, C) and normalised deltas (R, C, 4) of the RoIs on the maps; see `decode_deltas`.

        Args:
            maps: (B, D, Fh, Fw) of each level.
            rois: B tensors of (R_b, 4) boxes in resized pixels.
        """
        pooled = pool_levels(self._pool, maps, rois, self._strides, self._output_size)
        count = len(pooled)
        pooled = pooled.flatten(1) if self.training or pooled.device.type != "cpu" else _in_full_steps(pooled)
        hidden = self.drop6(torch.relu(self.fc6(pooled)))
        hidden = self.drop7(torch.relu(self.fc7(hidden)))
        class_logits, deltas = self.cls_score(hidden)[:count], self.bbox_pred(hidden)[:count]
        return class_logits.float(), deltas.float().unflatten(1, (-1, 4))

    def decode_deltas(self, normalised: Tensor) -> Tensor:
        """(R, C, 4) normalised deltas to deltas in box widths, heights and log ratios."""
        return normalised * self.delta_std + self.delta_mean


def _in_full_steps(pooled: Tensor) -> Tensor:
    """(R, D, S, S) to (R', D * S * S) in autocast's dtype: rows of 0 up to the next multiple of `_ROWS_AT_ONCE`.

    In one pass: laying out, padding and rounding by themselves would each write all of it.
    """
    count = len(pooled)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else pooled.dtype
    rows = torch.empty(count + -count % _ROWS_AT_ONCE, *pooled.shape[1:], dtype=dtype)
    rows[:count] = pooled
    rows[count:] = 0
    return rows.flatten(1)


def take_fc_layers(head: RoIHead, state: Mapping[str, Tensor]) -> bool:
    """Load fc6 and fc7 from a pre-trained classifier where the shapes match; False where they do not."""
    own = head.state_dict()
    wanted = [f"{layer}.{kind}" for layer in ("fc6", "fc7") for kind in ("weight", "bias")]
    if any(name not in state or state[name].shape != own[name].shape for name in wanted):
        return False
    head.load_state_dict({name: state[name] for name in wanted}, strict=False)
    return True

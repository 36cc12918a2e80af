"""The RoI head: pooled RoI features through hidden layers to class scores and box deltas (Fast R-CNN, section 2).

Shapes: B images; R RoIs of the batch; D channels of the maps; S cells of a pooled side; E features of a RoI; C classes,
background included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.geometry.layout import MapLayout
from pipeline.geometry.pooling import Pooling
from pipeline.nn.roi_pooling import pool_levels

_OUTPUTS = ("cls_score.", "bbox_pred.", "delta_")


class RoIHead(nn.Module):
    """RoI pooling, hidden layers, cls_score and bbox_pred. Kinds of heads are subclasses, which differ in the hidden
    layers alone: they make them, then call `add_outputs`, and give `features`.

    `delta_mean` and `delta_std` (C, 4) travel with the weights: bbox_pred predicts (delta - mean) / std.

    Args:
        layout: of the trunk's maps. num_classes: C. pooling: how RoIs are pooled.
        class_agnostic: whether bbox_pred gives one box for all classes, whose rows of `delta_mean` and `delta_std` must
            then be equal.
    """

    rows_at_once = 16
    """For every number of rows that a product meets oneDNN compiles and keeps another kernel, of 2 MB or so in bf16.
    Images have as many RoIs as they have; in multiples of this there are few numbers."""
    memory_format = torch.channels_last
    """How `features` wants pooled RoIs laid out on a CPU."""

    def __init__(self, layout: MapLayout, num_classes: int, pooling: Pooling, *, class_agnostic: bool = False) -> None:
        super().__init__()
        self._layout, self.pooling = layout, pooling
        self.num_classes = num_classes
        self._boxes = 1 if class_agnostic else num_classes
        self.delta_mean: Tensor
        self.delta_std: Tensor
        self.register_buffer("delta_mean", torch.zeros(num_classes, 4))
        self.register_buffer("delta_std", torch.ones(num_classes, 4))

    @property
    def class_agnostic(self) -> bool:
        """Whether bbox_pred gives one box for all classes."""
        return self._boxes < self.num_classes

    def add_outputs(self, features: int) -> None:
        """Create cls_score and bbox_pred on top of E features."""
        self.cls_score = nn.Linear(features, self.num_classes)
        self.bbox_pred = nn.Linear(features, 4 * self._boxes)

    def features(self, pooled: Tensor) -> Tensor:
        """(R, D, S, S) pooled RoIs to (R, E)."""
        raise NotImplementedError

    def initialise_hidden(self, generator: torch.Generator) -> None:
        """Draw fresh hidden layers, for trunks that bring no classifier."""
        raise NotImplementedError

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
            factor = (self.delta_std / std)[: self._boxes].reshape(-1)
            shift = ((self.delta_mean - mean) / std)[: self._boxes].reshape(-1)
            self.bbox_pred.weight.mul_(factor[:, None])
            self.bbox_pred.bias.mul_(factor).add_(shift)
            self.delta_mean.copy_(mean)
            self.delta_std.copy_(std)

    def seed_dropout(self, generator: torch.Generator) -> None:
        """Draw the next dropout masks from `generator`; a kind without dropout draws none."""

    def forward(self, maps: Sequence[Tensor], rois: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits (R, C) and normalised deltas of the RoIs on the maps, (R, C, 4), or (R, 1, 4) where the head is
        class-agnostic; see `decode_deltas`.

        Args:
            maps: (B, D, Fh, Fw) of each level.
            rois: B tensors of (R_b, 4) boxes in resized pixels.
        """
        pooled = pool_levels(maps, rois, self._layout, self.pooling)
        count = len(pooled)
        if not self.training and pooled.device.type == "cpu":
            pooled = _in_full_steps(pooled, self.rows_at_once, self.memory_format)
        hidden = self.features(pooled)
        class_logits, deltas = self.cls_score(hidden)[:count], self.bbox_pred(hidden)[:count]
        return class_logits.float(), deltas.float().unflatten(1, (-1, 4))

    def decode_deltas(self, normalised: Tensor) -> Tensor:
        """Normalised deltas, as `forward` gives them, to deltas in box widths, heights and log ratios, (R, C, 4)."""
        return normalised * self.delta_std + self.delta_mean


def _in_full_steps(pooled: Tensor, rows_at_once: int, memory_format: torch.memory_format) -> Tensor:
    """(R, D, S, S) to (R', D, S, S) in autocast's dtype: rows of 0 up to the next multiple of `rows_at_once`.

    In one pass: laying out, padding and rounding by themselves would each write all of it.
    """
    count = len(pooled)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else pooled.dtype
    shape = (count + -count % rows_at_once, *pooled.shape[1:])
    rows = torch.empty(shape, dtype=dtype, memory_format=memory_format)
    rows[:count] = pooled
    rows[count:] = 0
    return rows


def take_classifier(head: RoIHead, state: Mapping[str, Tensor]) -> bool:
    """Load the hidden layers of a pre-trained classifier if all are present and their shapes match; False if they
    do not."""
    if not hidden_layers_fit(head, state):
        return False
    head.load_state_dict({name: state[name] for name in _hidden_names(head)}, strict=False)
    return True


def hidden_layers_fit(head: RoIHead, state: Mapping[str, Tensor]) -> bool:
    """Whether a state has all hidden layers of the head, in their shapes."""
    own = head.state_dict()
    return all(name in state and state[name].shape == own[name].shape for name in _hidden_names(head))


def _hidden_names(head: RoIHead) -> list[str]:
    return [name for name in head.state_dict() if not name.startswith(_OUTPUTS)]

"""What the RPN makes of the map, and its two losses on the sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.families.faster_rcnn.nn.rpn_losses import rpn_losses
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.walk import by_hand
from pipeline.walk.checking import same
from pipeline.walk.labels import Labels
from pipeline.walk.network import Network


@dataclass(frozen=True)
class RPNOutputs:
    """Outputs and losses.

    Attributes:
        scores, offsets: channels of the two 1x1 convolutions.
        hidden: those of the 3x3 one before them. objectness: (K,) logits; deltas: (K, 4).
        weights: of the whole head.
        classification, box: the losses. even: the loss of a network that says one half of every anchor.
        still: the box loss of offsets of zero.
    """

    scores: int
    offsets: int
    hidden: int
    weights: int
    objectness: Tensor
    deltas: Tensor
    classification: float
    box: float
    even: float
    still: float

    @property
    def total(self) -> float:
        """Both losses."""
        return self.classification + self.box


def rpn_outputs(network: Network, maps: Tensor, labels: Labels) -> RPNOutputs:
    """Run the RPN head on a (1, D, Fh, Fw) map."""
    rpn, params = network.rpn, network.params.rpn
    with torch.inference_mode():
        (objectness,), (deltas,) = rpn([maps])
        scores = objectness[0].reshape(-1)
        offsets = deltas[0].reshape(-1, 4)
        rows = torch.cat([labels.fg_rows, labels.bg_rows])
        is_fg = torch.cat([torch.ones(len(labels.fg_rows)), torch.zeros(len(labels.bg_rows))])
        weight = torch.full((len(rows),), 1.0 / max(len(rows), 1))
        classification, box = rpn_losses(
            scores[rows], is_fg, offsets[labels.fg_rows], labels.deltas, weight, params.sigma, params.box_loss
        )
    _check(scores[rows].tolist(), is_fg.tolist(), float(classification))
    _check_box((offsets[labels.fg_rows] - labels.deltas).flatten().tolist(), len(rows), params, float(box))
    return RPNOutputs(
        rpn.cls_score.out_channels,
        rpn.bbox_pred.out_channels,
        rpn.conv.out_channels,
        sum(weight.numel() for weight in rpn.parameters()),
        scores,
        offsets,
        float(classification),
        params.box_loss_weight * float(box),
        math.log(2),
        params.box_loss_weight * _box_loss(labels.deltas.flatten().tolist(), len(rows), params),
    )


def _check(logits: list[float], is_fg: list[float], compiled: float) -> None:
    losses = [math.log1p(math.exp(-logit if label else logit)) for logit, label in zip(logits, is_fg, strict=True)]
    same("RPN's class loss", [sum(losses) / max(len(losses), 1)], [compiled], 1e-4)


def _check_box(differences: list[float], sampled: int, params: RPNParams, compiled: float) -> None:
    same("RPN's box loss", [_box_loss(differences, sampled, params)], [compiled], 1e-4)


def _box_loss(differences: list[float], sampled: int, params: RPNParams) -> float:
    if params.box_loss == "l1":
        return sum(map(abs, differences)) / max(sampled, 1)
    return sum(by_hand.smooth_l1(difference, params.sigma) for difference in differences) / max(sampled, 1)

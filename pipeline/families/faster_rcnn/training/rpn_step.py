"""Steps 1 and 3: a module that maps a batch to the RPN's two losses.

Shapes: B images; D channels; Fh, Fw feature map height, width; A anchors per location; S drawn anchors; F fg of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from pipeline.families.faster_rcnn.nn.rpn_losses import rpn_losses
from pipeline.families.faster_rcnn.training.anchor_samples import DrawnAnchors, put_anchors_together
from pipeline.feeding.maps import maps_of
from pipeline.nn.anchors import joined

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.nn.rpn import Levels, RPNHead
    from pipeline.families.faster_rcnn.params.rpn import RPNParams
    from pipeline.families.faster_rcnn.training.batches import Batch
    from pipeline.feeding.frozen_trunk import FrozenTrunk
    from pipeline.geometry.layout import MapLayout
    from pipeline.nn.backbones.trunk import Maps, Trunk

Losses = dict[str, Tensor]


class RPNStep(nn.Module):
    """Steps 1 and 3. With a trunk it trains on images; without one, or with a frozen one, which does not belong to the
    module, the RPN alone."""

    def __init__(self, rpn: RPNHead, params: RPNParams, trunk: Trunk | FrozenTrunk | None, layout: MapLayout) -> None:
        super().__init__()
        self.rpn, self.trunk = rpn, trunk
        self._params, self._layout = params, layout

    def forward(self, batch: Batch) -> Losses:
        """The two RPN losses."""
        maps = maps_of(self.trunk, batch.views)
        if at_cells(maps):
            return rpn_losses_at_cells(self.rpn, maps, batch, self._params, self._layout)
        objectness, deltas = self.rpn(maps)
        return rpn_step_losses(objectness, deltas, batch, self._params, self._layout)


def at_cells(maps: Maps) -> bool:
    """Whether losses take the RPN's outputs at the cells of the drawn anchors alone: on a CPU, of a pyramid, whose maps
    have many times as many cells."""
    return len(maps) > 1 and maps[0].device.type == "cpu"


def rpn_losses_at_cells(rpn: RPNHead, maps: Maps, batch: Batch, params: RPNParams, layout: MapLayout) -> Losses:
    """`rpn_step_losses` of what the RPN makes of (B, D, Fh, Fw) maps, to rounding."""
    drawn = _drawn_anchors(batch, params, layout, rpn.per_location)
    objectness, deltas = rpn.at(maps, drawn.places)
    return _losses(objectness, deltas[: len(drawn.deltas)], drawn, params)


def rpn_step_losses(objectness: Levels, deltas: Levels, batch: Batch, params: RPNParams, layout: MapLayout) -> Losses:
    """RPN losses of (B, Fh, Fw, A) objectness and (B, Fh, Fw, A, 4) deltas of each level on the batch's anchors."""
    drawn = _drawn_anchors(batch, params, layout, objectness[0].shape[3])
    fg = drawn.places[: len(drawn.deltas)]
    logits = joined([level.reshape(-1) for level in objectness])[drawn.places]
    return _losses(logits, joined([level.reshape(-1, 4) for level in deltas])[fg], drawn, params)


def _drawn_anchors(batch: Batch, params: RPNParams, layout: MapLayout, per_location: int) -> DrawnAnchors:
    return batch.drawn_anchors or put_anchors_together(
        batch.anchors, batch.views.sizes, layout, per_location, params.normaliser
    )


def _losses(objectness: Tensor, deltas: Tensor, drawn: DrawnAnchors, params: RPNParams) -> Losses:
    """Of (S,) objectness of the drawn anchors and (F, 4) deltas of the fg among them."""
    classification, box = rpn_losses(
        objectness, drawn.is_fg, deltas, drawn.deltas, drawn.weight, params.sigma, params.box_loss
    )
    return {"rpn_objectness": classification, "rpn_box": params.box_loss_weight * box}

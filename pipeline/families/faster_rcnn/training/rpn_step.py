"""Steps 1 and 3: the RPN from a batch to its two losses.

Shapes: B images; A anchors per location.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from pipeline.families.faster_rcnn.nn.rpn_losses import rpn_losses
from pipeline.families.faster_rcnn.training.anchor_samples import put_anchors_together
from pipeline.feeding.maps import maps_of
from pipeline.nn.anchors import joined

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.nn.rpn import Levels, RPNHead
    from pipeline.families.faster_rcnn.params.rpn import RPNParams
    from pipeline.families.faster_rcnn.training.batches import Batch
    from pipeline.geometry.layout import MapLayout
    from pipeline.nn.backbones.trunk import Trunk

Losses = dict[str, Tensor]


class RPNStep(nn.Module):
    """Steps 1 and 3. With a trunk it trains on images; without one, on cached maps, where no trunk exists."""

    def __init__(self, rpn: RPNHead, params: RPNParams, trunk: Trunk | None, layout: MapLayout) -> None:
        super().__init__()
        self.rpn, self.trunk = rpn, trunk
        self._params, self._layout = params, layout

    def forward(self, batch: Batch) -> Losses:
        """The two RPN losses."""
        objectness, deltas = self.rpn(maps_of(self.trunk, batch.views))
        return rpn_step_losses(objectness, deltas, batch, self._params, self._layout)


def rpn_step_losses(objectness: Levels, deltas: Levels, batch: Batch, params: RPNParams, layout: MapLayout) -> Losses:
    """RPN losses of (B, Fh, Fw, A) objectness and (B, Fh, Fw, A, 4) deltas of each level on the batch's anchors."""
    drawn = batch.drawn_anchors or put_anchors_together(
        batch.anchors, batch.views.sizes, layout, objectness[0].shape[3], params.normaliser
    )
    fg = drawn.places[: len(drawn.deltas)]
    logits = joined([level.reshape(-1) for level in objectness])[drawn.places]
    predicted = joined([level.reshape(-1, 4) for level in deltas])[fg]
    classification, box = rpn_losses(
        logits, drawn.is_fg, predicted, drawn.deltas, drawn.weight, params.sigma, params.box_loss
    )
    return {"rpn_objectness": classification, "rpn_box": params.box_loss_weight * box}

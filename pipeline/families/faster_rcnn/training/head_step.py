"""Steps 2 and 4: a module that maps a batch to the RoI head's two losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.families.faster_rcnn.nn.roi_losses import roi_losses
from pipeline.families.faster_rcnn.training.roi_samples import DrawnRoIs, put_rois_together
from pipeline.feeding.maps import maps_of

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
    from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
    from pipeline.families.faster_rcnn.training.batches import Batch
    from pipeline.feeding.frozen_trunk import FrozenTrunk
    from pipeline.nn.backbones.trunk import Maps, Trunk

Losses = dict[str, Tensor]


class HeadStep(nn.Module):
    """Steps 2 and 4: the RoI head on stored proposal targets; without a trunk, or with a frozen one, which is no
    part of the module, the head alone."""

    def __init__(self, head: RoIHead, params: RoIHeadParams, trunk: Trunk | FrozenTrunk | None) -> None:
        super().__init__()
        self.head, self.trunk = head, trunk
        self._params = params

    def forward(self, batch: Batch) -> Losses:
        """The two RoI losses."""
        maps = maps_of(self.trunk, batch.views)
        rois = batch.drawn_rois or put_rois_together(batch.rois)
        return head_step_losses(self.head, maps, rois, batch.seeds[-1], self._params)


def head_step_losses(head: RoIHead, maps: Maps, drawn: DrawnRoIs, dropout_seed: int, params: RoIHeadParams) -> Losses:
    """RoI losses on the RoIs drawn from all images."""
    head.seed_dropout(torch.Generator(device=maps[0].device).manual_seed(dropout_seed))
    class_logits, class_deltas = head(maps, drawn.rois)
    sigma = params.sigma if params.box_loss == "smooth_l1" else None
    classification, box = roi_losses(class_logits, drawn.labels, class_deltas, drawn.deltas, sigma, drawn.fg)
    return {"roi_class": classification, "roi_box": params.box_loss_weight * box}

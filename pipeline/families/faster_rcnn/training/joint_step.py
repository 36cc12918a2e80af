"""Joint training: a module that maps a batch to the four losses of RPN and RoI head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.families.faster_rcnn.building.matching import matching_rule
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, candidate_proposals, of_image
from pipeline.families.faster_rcnn.nn.roi_targets import assign_rois, find_candidates, normalise_deltas
from pipeline.families.faster_rcnn.training.head_step import head_step_losses
from pipeline.families.faster_rcnn.training.roi_samples import DrawnRoIs
from pipeline.families.faster_rcnn.training.rpn_step import at_cells, rpn_losses_at_cells, rpn_step_losses
from pipeline.feeding.maps import maps_of
from pipeline.feeding.prefetching import pinned, to_device
from pipeline.nn.anchors import AnchorGrid, KeptAnchors
from pipeline.nn.matching import BG, FG
from pipeline.nn.sampling import sample_fg_bg

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
    from pipeline.families.faster_rcnn.nn.rpn import Levels, RPNHead
    from pipeline.families.faster_rcnn.params.proposal_targets import RoITargetParams
    from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
    from pipeline.families.faster_rcnn.params.rpn import RPNParams
    from pipeline.families.faster_rcnn.training.batches import Batch
    from pipeline.nn.backbones.trunk import Trunk

Losses = dict[str, Tensor]


class JointStep(nn.Module):
    """Joint training: all four losses, with fresh proposals and no gradient through their boxes."""

    def __init__(
        self,
        trunk: Trunk,
        rpn: RPNHead,
        head: RoIHead,
        grid: AnchorGrid,
        rule: ProposalRule,
        rpn_params: RPNParams,
        target_params: RoITargetParams,
        head_params: RoIHeadParams,
    ) -> None:
        super().__init__()
        self.trunk, self.rpn, self.head = trunk, rpn, head
        self._anchors, self._rule = KeptAnchors(grid), rule
        self._rpn_params, self._head_params = rpn_params, head_params
        self._matching = matching_rule(target_params)

    def forward(self, batch: Batch) -> Losses:
        """The two RPN and the two RoI losses."""
        maps = maps_of(self.trunk, batch.views)
        few, params = at_cells(maps), self._rpn_params
        with torch.set_grad_enabled(not few):
            objectness, deltas = self.rpn(maps)
        with torch.no_grad():
            rois = self._draw_rois(_detached(objectness), _detached(deltas), batch)
        if few:
            losses = rpn_losses_at_cells(self.rpn, maps, batch, params, self.trunk.layout)
        else:
            losses = rpn_step_losses(objectness, deltas, batch, params, self.trunk.layout)
        return {
            **losses,
            **head_step_losses(self.head, maps, rois, batch.seeds[-1], self._head_params),
        }

    def _draw_rois(self, objectness: Levels, deltas: Levels, batch: Batch) -> DrawnRoIs:
        """NMS and one look at all candidates' labels are all that the host waits for: how many are fg and bg decides
        what is drawn."""
        device, candidates = deltas[0].device, []
        for i, (size, gt, scale) in enumerate(zip(batch.views.sizes, batch.gt, batch.scales, strict=True)):
            cells = self.trunk.layout.sizes(*size)
            logits, own_deltas, counts = of_image(objectness, deltas, i, cells)
            anchors = self._anchors(cells, device)
            boxes, usable = candidate_proposals(logits, own_deltas, anchors, size, self._rule, scale, counts)
            candidates.append(find_candidates(boxes, gt, self._matching, usable))
        own = assign_rois(candidates, batch.gt, lambda labels: self._draw(labels, batch.seeds, device))
        normalised = normalise_deltas(own.deltas, own.labels, self.head.delta_mean, self.head.delta_std)
        return DrawnRoIs(own.rois, own.labels, normalised, own.fg)

    def _draw(
        self, labels: Sequence[Tensor], seeds: list[int], device: torch.device
    ) -> tuple[Sequence[Tensor], Tensor]:
        """The indices of the candidates drawn from each image, and which of all drawn are fg."""
        drawn, fg, before = [], [], 0
        on_host = torch.cat(list(labels)).cpu().split([len(own) for own in labels])
        for own, seed in zip((own.numpy() for own in on_host), seeds[:-1], strict=True):
            picked = sample_fg_bg(
                torch.from_numpy(np.flatnonzero(own == FG)),
                torch.from_numpy(np.flatnonzero(own == BG)),
                self._head_params.rois_per_image,
                self._head_params.fg_fraction,
                torch.Generator().manual_seed(seed),
            )
            fg.append(torch.arange(before, before + len(picked[0])))
            drawn.append(torch.cat(picked))
            before += len(drawn[-1])
        everything = to_device(pinned(torch.cat([*drawn, *fg])), device)
        *of_images, of_fg = everything.split([*map(len, drawn), sum(map(len, fg))])
        return of_images, of_fg


def _detached(levels: Levels) -> Levels:
    return tuple(level.detach() for level in levels)

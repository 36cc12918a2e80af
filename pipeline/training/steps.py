"""What is trained in each step: a module from a batch to its named losses.

Shapes: B images; S anchors or R RoIs sampled over the batch; F fg among them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.detector.anchors import AnchorGrid
from pipeline.detector.boxes import encode
from pipeline.detector.losses import roi_losses, rpn_losses
from pipeline.detector.matching import ignore_in_regions, match_proposals
from pipeline.detector.roi_head import RoIHead, normalise_deltas
from pipeline.detector.rpn import ProposalRule, RPNHead, make_proposals
from pipeline.detector.sampling import sample_fg_bg
from pipeline.detector.trunk import Trunk
from pipeline.params.detector import ProposalTargetParams, RoIHeadParams, RPNParams
from pipeline.training.batches import AnchorSample, Batch, RoISample, Views

Losses = dict[str, Tensor]
FeatureSize = Callable[[int, int], tuple[int, int]]


def maps_of(trunk: Trunk | None, views: Views) -> Tensor:
    """Feature maps of a batch: computed by the trunk from images or from the maps of its frozen blocks, or, without a
    trunk, as cached."""
    if views.maps is not None:
        kind = views.maps.device.type
        dtype = torch.get_autocast_dtype(kind) if trunk and torch.is_autocast_enabled(kind) else torch.float32
        maps = views.maps.float().to(dtype)  # in two steps, as torch has no fast way from float16 to bf16
        return trunk.trained(maps) if trunk else maps
    assert trunk is not None and views.images is not None
    return trunk(trunk.normalise(views.images, views.sizes))


class RPNStep(nn.Module):
    """Steps 1 and 3. With a trunk it trains on images; without one, on cached maps, where no trunk exists."""

    def __init__(self, rpn: RPNHead, params: RPNParams, trunk: Trunk | None, feature_size: FeatureSize) -> None:
        super().__init__()
        self.rpn, self.trunk = rpn, trunk
        self._params, self._feature_size = params, feature_size

    def forward(self, batch: Batch) -> Losses:
        """The two RPN losses."""
        objectness, deltas = self.rpn(maps_of(self.trunk, batch.views))
        return rpn_step_losses(objectness, deltas, batch, self._params, self._feature_size)


class HeadStep(nn.Module):
    """Steps 2 and 4: the RoI head on stored proposal targets."""

    def __init__(self, head: RoIHead, params: RoIHeadParams, trunk: Trunk | None) -> None:
        super().__init__()
        self.head, self.trunk = head, trunk
        self._params = params

    def forward(self, batch: Batch) -> Losses:
        """The two RoI losses."""
        maps = maps_of(self.trunk, batch.views)
        return head_step_losses(self.head, maps, batch.rois, batch.seeds[-1], self._params)


class JointStep(nn.Module):
    """Joint training: all four losses; proposals are drawn afresh and no gradient passes through their boxes."""

    def __init__(
        self,
        trunk: Trunk,
        rpn: RPNHead,
        head: RoIHead,
        grid: AnchorGrid,
        rule: ProposalRule,
        rpn_params: RPNParams,
        target_params: ProposalTargetParams,
        head_params: RoIHeadParams,
    ) -> None:
        super().__init__()
        self.trunk, self.rpn, self.head = trunk, rpn, head
        self._grid, self._rule = grid, rule
        self._rpn_params, self._target_params, self._head_params = rpn_params, target_params, head_params

    def forward(self, batch: Batch) -> Losses:
        """The two RPN and the two RoI losses."""
        maps = maps_of(self.trunk, batch.views)
        objectness, deltas = self.rpn(maps)
        with torch.no_grad():
            rois = self._draw_rois(objectness.detach(), deltas.detach(), batch)
        return {
            **rpn_step_losses(objectness, deltas, batch, self._rpn_params, self.trunk.feature_size),
            **head_step_losses(self.head, maps, rois, batch.seeds[-1], self._head_params),
        }

    def _draw_rois(self, objectness: Tensor, deltas: Tensor, batch: Batch) -> list[RoISample]:
        samples = []
        params = self._target_params
        for i, (size, gt, scale) in enumerate(zip(batch.views.sizes, batch.gt, batch.scales, strict=True)):
            fh, fw = self.trunk.feature_size(*size)
            anchors = self._grid(fh, fw).to(deltas.device)
            own_objectness, own_deltas = objectness[i, :fh, :fw].reshape(-1), deltas[i, :fh, :fw].reshape(-1, 4)
            proposals, _ = make_proposals(own_objectness, own_deltas, anchors, size, self._rule, scale)
            candidates = torch.cat([proposals, gt.boxes])
            matches = match_proposals(candidates, gt.boxes, params.fg_iou, params.bg_iou_high, params.bg_iou_low)
            assigned = ignore_in_regions(matches.labels, candidates, gt.regions, params.ignore_ioa)
            generator = torch.Generator().manual_seed(batch.seeds[i])
            drawn = torch.cat(
                sample_fg_bg(
                    torch.nonzero(assigned == 1).squeeze(1),
                    torch.nonzero(assigned == 0).squeeze(1),
                    self._head_params.rois_per_image,
                    self._head_params.fg_fraction,
                    generator,
                )
            )
            rois, is_fg, matched_gt = candidates[drawn], assigned[drawn] == 1, matches.matched_gt[drawn]
            if len(gt.boxes) == 0:
                labels, targets = torch.zeros_like(drawn), torch.zeros_like(rois)
            else:
                labels = torch.where(is_fg, gt.labels[matched_gt], torch.zeros_like(matched_gt))
                raw = encode(rois, gt.boxes[matched_gt])
                targets = normalise_deltas(raw, labels, self.head.delta_mean, self.head.delta_std)
            samples.append(RoISample(rois, labels, targets))
        return samples


def rpn_step_losses(
    objectness: Tensor, deltas: Tensor, batch: Batch, params: RPNParams, feature_size: FeatureSize
) -> Losses:
    """RPN losses of (B, Fh, Fw, A) objectness and (B, Fh, Fw, A, 4) deltas on the batch's anchors.

    Each image's own part of the padded map is cut out first, so that its anchor indices hold.
    """
    fg_logits, bg_logits, predicted, weights = [], [], [], []
    for i, (sample, size) in enumerate(zip(batch.anchors, batch.views.sizes, strict=True)):
        fh, fw = feature_size(*size)
        own = objectness[i, :fh, :fw].reshape(-1)
        fg_logits.append(own[sample.fg])
        bg_logits.append(own[sample.bg])
        predicted.append(deltas[i, :fh, :fw].reshape(-1, 4)[sample.fg])
        weights.append(1.0 / (max(_drawn(sample), 1) * len(batch.anchors)))
    fg, bg = torch.cat(fg_logits), torch.cat(bg_logits)
    logits = torch.cat([fg, bg])
    is_fg = torch.cat([torch.ones_like(fg), torch.zeros_like(bg)])
    weight = torch.cat(
        [
            logits.new_full((len(part),), w)
            for parts in (fg_logits, bg_logits)
            for part, w in zip(parts, weights, strict=True)
        ]
    )
    targets = torch.cat([sample.deltas for sample in batch.anchors])
    classification, box = rpn_losses(logits, is_fg, torch.cat(predicted), targets, weight, params.sigma)
    return {"rpn_objectness": classification, "rpn_box": params.box_loss_weight * box}


def _drawn(sample: AnchorSample) -> int:
    return len(sample.fg) + len(sample.bg)


def head_step_losses(
    head: RoIHead, maps: Tensor, samples: list[RoISample], dropout_seed: int, params: RoIHeadParams
) -> Losses:
    """RoI losses on the sampled RoIs of each image."""
    head.seed_dropout(torch.Generator(device=maps.device).manual_seed(dropout_seed))
    class_logits, class_deltas = head(maps, [sample.rois for sample in samples])
    labels = torch.cat([sample.labels for sample in samples])
    targets = torch.cat([sample.deltas for sample in samples])
    classification, box = roi_losses(class_logits, labels, class_deltas, targets, params.sigma)
    return {"roi_class": classification, "roi_box": params.box_loss_weight * box}

"""The RoI head's targets: which proposals are fg or bg, their matched gt box, and the deltas to it.

Shapes: B images; P proposals, G gt boxes, N = P + G candidates of one image; R RoIs, drawn from the candidates of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.families.faster_rcnn.nn.proposal_matching import match_proposals
from pipeline.nn.boxes import encode
from pipeline.nn.matching import FG, IGNORE, Matches, ignore_in_regions

Draw = Callable[[Sequence[Tensor]], tuple[Sequence[Tensor], Tensor]]
"""From the (N,) labels of each image's candidates, 1 fg, 0 bg, -1 ignored, to the indices drawn from each image, and
which of all drawn are fg."""


class MatchingRule(NamedTuple):
    """fg of IoU >= `fg_iou`, bg in [`bg_iou_low`, `bg_iou_high`), unless `ignore_ioa` of its area lie in a region."""

    fg_iou: float
    bg_iou_high: float
    bg_iou_low: float
    ignore_ioa: float


@dataclass(frozen=True)
class GtBoxes:
    """`boxes` (G, 4) resized pixels and `labels` (G,) int64 of one image, and `regions` (I, 4), crowd and ignore
    regions."""

    boxes: Tensor
    labels: Tensor
    regions: Tensor = field(default_factory=lambda: torch.zeros(0, 4))


@dataclass(frozen=True)
class Candidates:
    """`boxes` (N, 4) of one image, gt boxes last, and their `matches`."""

    boxes: Tensor
    matches: Matches


@dataclass(frozen=True)
class RoITargets:
    """Of each image its `rois` (R_b, 4); of all RoIs together `labels` (R,) int64, class, 0 bg, -1 ignored, `deltas`
    (R, 4), not normalised and meaningful for fg rows only, and `fg` (F,) int64, the indices of the fg rows."""

    rois: list[Tensor]
    labels: Tensor
    deltas: Tensor
    fg: Tensor


def find_candidates(proposals: Tensor, gt: GtBoxes, rule: MatchingRule, usable: Tensor | None = None) -> Candidates:
    """The (P, 4) proposals of one image and its gt boxes: which are fg, bg and ignored.

    Args:
        usable: (P,) bool, the proposals that are not to be ignored; None: all.
    """
    boxes = torch.cat([proposals, gt.boxes])
    matches = match_proposals(boxes, gt.boxes, rule.fg_iou, rule.bg_iou_high, rule.bg_iou_low)
    labels = ignore_in_regions(matches.labels, boxes, gt.regions, rule.ignore_ioa)
    if usable is not None:
        labels[: len(usable)].masked_fill_(~usable, IGNORE)
    return Candidates(boxes, replace(matches, labels=labels))


def assign_rois(candidates: Sequence[Candidates], gt: Sequence[GtBoxes], draw: Draw | None = None) -> RoITargets:
    """Labels and deltas of the RoIs drawn from B images, or of all their candidates where `draw` is None.

    Nothing here but `draw` waits for a GPU.
    """
    rois = [own.boxes for own in candidates]
    of_images, first_gt = [], 0
    for own, truth in zip(candidates, gt, strict=True):
        of_images.append(own.matches.matched_gt + first_gt)
        first_gt += len(truth.boxes)
    if draw is None:
        labels = torch.cat([own.matches.labels for own in candidates]).long()
        fg = torch.nonzero(labels == FG).squeeze(1)
    else:
        drawn, fg = draw([own.matches.labels for own in candidates])
        rois, of_images = ([each[own] for each, own in zip(all_, drawn, strict=True)] for all_ in (rois, of_images))
        labels = torch.zeros(sum(map(len, drawn)), dtype=torch.int64, device=fg.device)
    matched, boxes = torch.cat(of_images), torch.cat(rois)
    if first_gt == 0:
        return RoITargets(rois, labels, torch.zeros_like(boxes), fg)
    # One more than there are, for images without gt boxes.
    gt_boxes = torch.cat([*(own.boxes for own in gt), boxes.new_ones(1, 4)])
    gt_labels = torch.cat([own.labels for own in gt])
    labels.index_copy_(0, fg, gt_labels[matched[fg]])
    return RoITargets(rois, labels, encode(boxes, gt_boxes[matched]), fg)


def normalise_deltas(deltas: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(R, 4) deltas under the (C, 4) mean and std of their labels' classes; rows of label <= 0 become 0."""
    labels = labels.long()
    normalised = (deltas - mean[labels.clamp(min=0)]) / std[labels.clamp(min=0)]
    return torch.where((labels > 0)[:, None], normalised, torch.zeros_like(normalised))

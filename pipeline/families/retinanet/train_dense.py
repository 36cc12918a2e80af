"""The training losses of the head: focal loss of the classes of all anchors, and a box loss of the fg anchors.

Shapes: B images; N locations of a padded image, which are its anchors; F fg anchors of the batch; C classes, background
included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from pipeline.dense.empty_boxes import empty_boxes
from pipeline.dense.head import DenseHead, Outputs
from pipeline.dense.targets import BatchTargets
from pipeline.families.retinanet.anchors import anchors_at
from pipeline.families.retinanet.head import RetinaNetHead, build_head
from pipeline.families.retinanet.params import RetinaNetParams
from pipeline.nn.boxes import decode, encode
from pipeline.nn.focal_loss import sigmoid_focal_loss
from pipeline.nn.smooth_l1 import smooth_l1
from pipeline.params.anchors import AnchorParams
from pipeline.params.reading import Params
from pipeline.params.schedule import Schedule

__all__ = ["SECTIONS", "build_head", "losses", "remark"]

SECTIONS = {"anchors": AnchorParams, "retinanet": RetinaNetParams, "train_retinanet": Schedule}
KEPT = 0.9
"""Of the running normaliser, in each iteration."""


def losses(head: DenseHead, outputs: Outputs, targets: BatchTargets, params: Params) -> dict[str, Tensor]:
    """Both losses, summed over classes and coordinates, over a number of fg anchors that `normaliser` says."""
    own, logits, labels, fg = params.retinanet, outputs["class_logits"], targets.labels, targets.fg
    wanted = torch.zeros_like(logits).flatten(0, 1)
    wanted[fg, labels.flatten()[fg] - 1] = 1.0
    of_class = sigmoid_focal_loss(logits, wanted.view_as(logits), own.focal_alpha, own.focal_gamma).sum(dim=2)
    image, location = fg // labels.shape[1], fg % labels.shape[1]
    anchors = anchors_at(location, image, targets.grid, targets.sizes, params)
    of_box = box_losses(outputs["box_deltas"].flatten(0, 1)[fg], anchors, targets.fg_boxes, own)
    divisors = _divisors(cast(RetinaNetHead, head), targets, own)
    return {
        "retinanet_class": ((of_class * (labels >= 0)).sum(dim=1) / divisors).sum(),
        "retinanet_box": own.box_loss_weight * (of_box / divisors[image]).sum(),
    }


def box_losses(deltas: Tensor, anchors: Tensor, gt_boxes: Tensor, params: RetinaNetParams) -> Tensor:
    """(F,) losses of the (F, 4) deltas of anchors, whose targets are (F, 4) gt boxes, px."""
    if params.box_loss == "giou":
        from torchvision.ops import generalized_box_iou_loss  # importing torchvision takes longer than torch

        return cast(Tensor, generalized_box_iou_loss(decode(anchors, deltas), gt_boxes))
    difference = deltas - encode(anchors, gt_boxes)
    each = smooth_l1(difference, params.sigma) if params.box_loss == "smooth_l1" else difference.abs()
    return each.sum(dim=1)


def remark(history: Sequence[Mapping[str, float]], params: Params) -> str | None:
    """Whether all boxes have become empty, from which only an IoU loss cannot recover."""
    own: RetinaNetParams = params.retinanet
    given_weight = own.box_loss == "giou" and own.box_loss_weight > 0
    return empty_boxes(history, "retinanet_box", "train_retinanet", own.box_loss_weight) if given_weight else None


def _divisors(head: RetinaNetHead, targets: BatchTargets, params: RetinaNetParams) -> Tensor:
    """(B,) the normalisers of each image's losses."""
    labels, count = targets.labels, float(max(len(targets.fg), 1))
    if params.normaliser == "image":
        return (labels > 0).sum(dim=1).clamp(min=1) * float(len(labels))
    if params.normaliser == "ema":
        with torch.no_grad():
            head.normaliser.mul_(KEPT).add_((1 - KEPT) * count)
        return head.normaliser.detach().clone().expand(len(labels))
    return torch.full((len(labels),), count, device=labels.device)

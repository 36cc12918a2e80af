"""The training losses of the head (FCOS, sections 3.1 and 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.dense.empty_boxes import empty_boxes
from pipeline.dense.head import DenseHead, Outputs
from pipeline.dense.targets import BatchTargets
from pipeline.families.fcos.head import build_head
from pipeline.families.fcos.losses import box_losses, centreness, shares
from pipeline.families.fcos.params import FcosParams
from pipeline.families.fcos.points import boxes_at, points_in_batch
from pipeline.nn.focal_loss import sigmoid_focal_loss
from pipeline.params.reading import Params
from pipeline.params.schedule import Schedule

__all__ = ["SECTIONS", "build_head", "losses", "remark"]

SECTIONS = {"fcos": FcosParams, "train_fcos": Schedule}

_LEAST_CENTRENESS = 1e-6
"""Of the sum that weighted losses are divided by, where no location is to find an object."""


def losses(head: DenseHead, outputs: Outputs, targets: BatchTargets, params: Params) -> dict[str, Tensor]:
    """Focal loss of the classes; of the locations that are to find an object, the loss of their boxes and the cross
    entropy of their centre-ness."""
    own, logits = params.fcos, outputs["classes"]
    fg, labels, images = targets.fg, targets.labels, len(targets.sizes)
    image = fg // len(targets.grid)
    share = shares(torch.ones_like(fg, dtype=torch.float32), image, images, own.normaliser, least=1.0)
    wanted = torch.zeros_like(logits).flatten(0, 1)
    wanted[fg, labels.flatten()[fg] - 1] = 1.0
    per_class = sigmoid_focal_loss(logits, wanted.view_as(logits), own.focal_alpha, own.focal_gamma)
    of_classes = (per_class * (labels >= 0)[..., None]).sum(dim=(1, 2))

    points = points_in_batch(targets.grid, targets.sizes, params, logits.device).flatten(0, 1)[fg]
    central = centreness(points, targets.fg_boxes)
    of_boxes = box_losses(boxes_at(points, outputs["edges"].flatten(0, 1)[fg]), targets.fg_boxes, own.box_loss)
    of_centreness = functional.binary_cross_entropy_with_logits(
        outputs["centreness"].flatten()[fg], central, reduction="none"
    )
    if own.box_weight == "centreness":
        of_boxes = of_boxes * central
        box_share = shares(central, image, images, own.normaliser, least=_LEAST_CENTRENESS)
    else:
        box_share = share
    return {
        "fcos_class": (of_classes * share).sum(),
        "fcos_box": (of_boxes * box_share[image]).sum(),
        "fcos_centreness": (of_centreness * share[image]).sum(),
    }


def remark(history: Sequence[Mapping[str, float]], params: Params) -> str | None:
    """Whether the distances have become 0; the loss `iou` cannot show this, since it has no upper bound."""
    if params.fcos.box_loss == "iou":
        return None
    line = empty_boxes(history, "fcos_box", "train_fcos")
    return f"{line}, or set fcos.regression to exp" if line and params.fcos.regression != "exp" else line

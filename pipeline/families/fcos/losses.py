"""Box losses, centre-ness, and the normaliser of the losses.

Shapes: B images; F fg locations.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

_OF_TORCHVISION = {
    "giou": generalized_box_iou_loss,
    "diou": distance_box_iou_loss,
    "ciou": complete_box_iou_loss,
}
_LEAST_SIDE = 1 / 64
"""px, of predicted boxes in CIoU, whose angle is that of a width and a height."""


def box_losses(boxes: Tensor, gt_boxes: Tensor, kind: str) -> Tensor:
    """The (F,) losses of (F, 4) predicted boxes.

    Args:
        kind: `iou`: -log((intersection + 1) / (union + 1)), of areas in px, as in the original, which is finite for
            empty boxes; `giou`, `diou` or `ciou`.
    """
    if kind == "iou":
        return -_smooth_iou(boxes, gt_boxes).log()
    if kind == "ciou":
        boxes = torch.cat([boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + _LEAST_SIDE)], dim=1)
    losses: Tensor = _OF_TORCHVISION[kind](boxes, gt_boxes, reduction="none")
    return losses


def _smooth_iou(boxes: Tensor, others: Tensor) -> Tensor:
    shared = torch.minimum(boxes[:, 2:], others[:, 2:]) - torch.maximum(boxes[:, :2], others[:, :2])
    intersection = shared.clamp(min=0).prod(dim=1)
    own, other = ((corners[:, 2:] - corners[:, :2]).prod(dim=1) for corners in (boxes, others))
    return (intersection + 1) / (own + other - intersection + 1)


def centreness(points: Tensor, boxes: Tensor) -> Tensor:
    """(F,) of (F, 2) points inside (F, 4) boxes: 1 at the centre, falling to 0 at the edges (FCOS, equation 3)."""
    near, far = points - boxes[:, :2], boxes[:, 2:] - points
    return (torch.minimum(near, far) / torch.maximum(near, far)).prod(dim=1).sqrt()


def shares(weights: Tensor, image: Tensor, images: int, normaliser: str, least: float) -> Tensor:
    """The factors of the losses of each image, (B,).

    Args:
        weights: (F,) of the fg locations. image: (F,) int64, which of the B images each lies in.
        normaliser: `batch`: one over the sum of all weights; `image`: one over the sum of the image's own, and over B.
        least: what a sum counts as where it is less.
    """
    of_image = image == torch.arange(images, device=image.device)[:, None]
    own = (weights * of_image).sum(dim=1)
    if normaliser == "batch":
        return 1 / own.sum().clamp(min=least).expand(images)
    return 1 / (own.clamp(min=least) * images)

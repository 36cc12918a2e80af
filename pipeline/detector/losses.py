"""The four losses, each a scalar in float32.

Shapes: S sampled anchors, R sampled RoIs of one batch; F fg among them; C classes, background included.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def smooth_l1(difference: Tensor, sigma: float) -> Tensor:
    """Elementwise smooth L1: 0.5 (sigma x)^2 for |x| < 1 / sigma^2, else |x| - 0.5 / sigma^2."""
    return functional.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none", beta=sigma**-2)


def rpn_losses(
    objectness: Tensor, is_fg: Tensor, deltas: Tensor, target_deltas: Tensor, sample_weight: Tensor, sigma: float
) -> tuple[Tensor, Tensor]:
    """Objectness and box loss of the RPN (Faster R-CNN, equation 1, with the reference code's normaliser).

    The two-class softmax over (bg, fg) equals the logistic loss of their difference, which is what `objectness` is.

    Args:
        objectness: (S,) logits of the sampled anchors, fg first: the first F belong to `deltas`.
        is_fg: (S,) float, 1 for fg.
        deltas, target_deltas: (F, 4) predicted and wanted deltas of the fg anchors.
        sample_weight: (S,) 1 / (number of samples of the anchor's image * images in the batch).
        sigma: 3 in the paper's code.
    """
    classification = functional.binary_cross_entropy_with_logits(objectness, is_fg, sample_weight, reduction="sum")
    per_anchor = smooth_l1(deltas - target_deltas, sigma).sum(dim=1)
    return classification, (per_anchor * sample_weight[: len(deltas)]).sum()


def roi_losses(
    class_logits: Tensor,
    labels: Tensor,
    class_deltas: Tensor,
    target_deltas: Tensor,
    sigma: float,
    fg: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Classification and box loss of the RoI head (Fast R-CNN, section 2.3), both over the number of RoIs.

    Args:
        class_logits: (R, C).
        labels: (R,) int64, 0 bg.
        class_deltas: (R, C, 4) normalised deltas predicted for every class; the label's are trained.
        target_deltas: (R, 4) normalised; rows of bg RoIs are not read.
        sigma: 1 in the paper's code.
        fg: (F,) int64 indices of the fg RoIs, ascending; None: they are looked for, which a GPU has to be waited for.
    """
    count = max(len(labels), 1)
    classification = functional.cross_entropy(class_logits, labels, reduction="sum") / count
    if fg is None:
        fg = torch.nonzero(labels > 0).squeeze(1)
    predicted = class_deltas[fg, labels[fg]]
    box = smooth_l1(predicted - target_deltas[fg], sigma).sum() / count
    return classification, box

"""The two losses of the RPN, each a scalar in float32.

Shapes: S sampled anchors of one batch; F fg among them.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from pipeline.nn.smooth_l1 import smooth_l1


def rpn_losses(
    objectness: Tensor,
    is_fg: Tensor,
    deltas: Tensor,
    target_deltas: Tensor,
    sample_weight: Tensor,
    sigma: float,
    box_loss: Literal["smooth_l1", "l1"] = "smooth_l1",
) -> tuple[Tensor, Tensor]:
    """Objectness and box loss of the RPN (Faster R-CNN, equation 1, with the reference code's normaliser).

    The two-class softmax over (bg, fg) equals the logistic loss of their difference, which is what `objectness` is.

    Args:
        objectness: (S,) logits of the sampled anchors, fg first: the first F belong to `deltas`.
        is_fg: (S,) float, 1 for fg.
        deltas, target_deltas: (F, 4) predicted and wanted deltas of the fg anchors.
        sample_weight: (S,) what each anchor counts, see `DrawnAnchors`.
        sigma: of smooth L1, 3 in the paper's code.
    """
    classification = functional.binary_cross_entropy_with_logits(objectness, is_fg, sample_weight, reduction="sum")
    difference = deltas - target_deltas
    per_anchor = (difference.abs() if box_loss == "l1" else smooth_l1(difference, sigma)).sum(dim=1)
    return classification, (per_anchor * sample_weight[: len(deltas)]).sum()

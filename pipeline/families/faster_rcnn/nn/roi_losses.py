"""The two losses of the RoI head, each a scalar in float32.

Shapes: R sampled RoIs of one batch; F fg among them; C classes, background included.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.nn.smooth_l1 import smooth_l1


def roi_losses(
    class_logits: Tensor,
    labels: Tensor,
    class_deltas: Tensor,
    target_deltas: Tensor,
    sigma: float | None,
    fg: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Classification and box loss of the RoI head (Fast R-CNN, section 2.3), both over the number of RoIs.

    Args:
        class_logits: (R, C).
        labels: (R,) int64, 0 bg.
        class_deltas: normalised deltas predicted for every class, (R, C, 4); those of the label are trained; or
            (R, 1, 4) for all classes.
        target_deltas: (R, 4) normalised; rows of bg RoIs are not read.
        sigma: of smooth L1, 1 in the paper's code; None: L1.
        fg: (F,) int64 indices of the fg RoIs, ascending; None: they are looked for, which a GPU has to be waited for.
    """
    count = max(len(labels), 1)
    classification = functional.cross_entropy(class_logits, labels, reduction="sum") / count
    if fg is None:
        fg = torch.nonzero(labels > 0).squeeze(1)
    predicted = class_deltas[fg, 0] if class_deltas.shape[1] == 1 else class_deltas[fg, labels[fg]]
    difference = predicted - target_deltas[fg]
    box = (difference.abs() if sigma is None else smooth_l1(difference, sigma)).sum() / count
    return classification, box

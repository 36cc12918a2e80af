"""The RoIs that an iteration trains on, per image and combined for the losses.

Shapes: B images; R RoIs, of one image or of all; F fg among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RoISample:
    """The RoIs drawn from one image: `rois` (R, 4) resized pixels, `labels` (R,) int64, normalised `deltas` (R, 4)."""

    rois: Tensor
    labels: Tensor
    deltas: Tensor


@dataclass(frozen=True)
class DrawnRoIs:
    """The RoIs drawn from all images of a batch: of each its `rois` (R_b, 4) resized pixels, of all together `labels`
    (R,) int64, normalised `deltas` (R, 4), and `fg` (F,) int64, which rows are fg."""

    rois: list[Tensor]
    labels: Tensor
    deltas: Tensor
    fg: Tensor


def put_rois_together(samples: Sequence[RoISample]) -> DrawnRoIs:
    """The RoIs drawn from B images."""
    labels = torch.cat([sample.labels for sample in samples])
    return DrawnRoIs(
        [sample.rois for sample in samples],
        labels,
        torch.cat([sample.deltas for sample in samples]),
        torch.nonzero(labels > 0).squeeze(1),
    )

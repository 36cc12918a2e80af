"""The block `rpn` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pipeline.params.section import Count, Fraction, NonNegative, Positive, Section


class RPNParams(Section):
    """The RPN head, its sampling and its loss."""

    channels: Count
    depth: Count = 1
    anchors_per_image: Count
    fg_fraction: Fraction
    box_loss: Literal["smooth_l1", "l1"] = "smooth_l1"
    sigma: Positive
    box_loss_weight: NonNegative
    normaliser: Literal["image", "batch"] = "image"
    images_without_gt: Literal["background", "drop"]

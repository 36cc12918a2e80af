"""The block `rpn` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pipeline.params.section import Count, Fraction, NonNegative, Positive, Section


class RPNParams(Section):
    """The RPN head, its sampling and its loss."""

    channels: Count
    anchors_per_image: Count
    fg_fraction: Fraction
    sigma: Positive
    box_loss_weight: NonNegative
    images_without_gt: Literal["background", "drop"]

"""The block `roi_head` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.params.section import Count, Fraction, NonNegative, Positive, Section


class RoIHeadParams(Section):
    """The RoI head, its sampling and its loss."""

    pool: Literal["roi_pool", "roi_align"]
    output_size: Count
    hidden: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    rois_per_image: Count
    fg_fraction: Fraction
    sigma: Positive
    box_loss_weight: NonNegative

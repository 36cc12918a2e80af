"""The block `roi_head` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.geometry.pooling import Pooling
from pipeline.params.section import Count, Fraction, Natural, NonNegative, Positive, Section


class RoIHeadParams(Section):
    """The RoI head, its sampling and its loss."""

    kind: Literal["fc", "res5", "convs"] = "fc"
    pool: Literal["roi_pool", "roi_align"]
    output_size: Count
    samples: Natural = 2
    aligned: bool = True
    hidden: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    class_agnostic: bool = False
    rois_per_image: Count
    fg_fraction: Fraction
    box_loss: Literal["smooth_l1", "l1"] = "smooth_l1"
    sigma: Positive
    box_loss_weight: NonNegative

    @property
    def pooling(self) -> Pooling:
        """How RoIs are pooled."""
        return Pooling(self.pool, self.output_size, self.samples, self.aligned)

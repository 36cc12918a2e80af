"""The family's blocks of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import Count, Fraction, ImagesAtOnce, Overlap, Positive, Quadruple, Section

Ratio = Annotated[float, Field(gt=1)]


class SSDParams(Section):
    """The default boxes, which of them predict an object, and the losses."""

    scales: Annotated[list[Positive], Field(min_length=2)]
    ratios: Annotated[list[list[Ratio]], Field(min_length=1)]
    clip: Literal["none", "sides"]
    variances: Quadruple
    matching: Literal["bipartite", "best"]
    fg_iou: Overlap
    bg_iou: Overlap
    ignore_ioa: Overlap
    negatives: Positive
    box_loss_weight: Positive

    @model_validator(mode="after")
    def _a_scale_for_each_level_and_one_more(self) -> SSDParams:
        if len(self.scales) != len(self.ratios) + 1:
            raise ValueError(
                f"scales has {len(self.scales)} numbers and ratios {len(self.ratios)} lists; give scales one for each "
                "level, as ratios has, and one more, which the last level's second square ends at"
            )
        return self

    @model_validator(mode="after")
    def _deltas_are_divided_by_more_than_nothing(self) -> SSDParams:
        if min(self.variances) <= 0:
            raise ValueError("variances should be greater than 0, as deltas are divided by them")
        return self

    @model_validator(mode="after")
    def _no_box_is_both(self) -> SSDParams:
        if self.bg_iou > self.fg_iou:
            raise ValueError(f"bg_iou {self.bg_iou:g} is above fg_iou {self.fg_iou:g}; lower the first")
        return self


class DetectSSDParams(Section):
    """What becomes a detection."""

    score_threshold: Fraction
    per_class: Count
    nms_iou: Overlap
    per_image: Count
    images_at_once: ImagesAtOnce = 1  # earlier parameters lack it

"""The family's blocks of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import Count, Fraction, ImagesAtOnce, NonNegative, Overlap, Positive, Section

GROUPS = 32
"""Of group norm."""


class RetinaNetParams(Section):
    """The head, which anchors are fg, bg or ignored, and the losses."""

    depth: Count
    channels: Count
    norm: Literal["none", "group"]
    prior: Annotated[float, Field(gt=0, lt=1)]
    fg_iou: Fraction
    bg_iou: Fraction
    low_quality_matches: bool
    ignore_ioa: Overlap
    focal_alpha: Fraction
    focal_gamma: NonNegative
    box_loss: Literal["l1", "smooth_l1", "giou"]
    sigma: Positive
    box_loss_weight: NonNegative
    normaliser: Literal["image", "batch", "ema"]

    @model_validator(mode="after")
    def _bg_below_fg(self) -> RetinaNetParams:
        if self.bg_iou > self.fg_iou:
            raise ValueError(f"bg_iou {self.bg_iou} is above fg_iou {self.fg_iou}")
        return self

    @model_validator(mode="after")
    def _channels_make_groups(self) -> RetinaNetParams:
        if self.norm == "group" and self.channels % GROUPS:
            raise ValueError(
                f"norm group has {GROUPS} groups; channels {self.channels} must be a multiple of that, such as "
                f"{-(-self.channels // GROUPS) * GROUPS}"
            )
        return self


class DetectRetinaNetParams(Section):
    """What becomes a detection."""

    score_threshold: Fraction
    per_level: Count
    nms_iou: Overlap
    per_image: Count
    images_at_once: ImagesAtOnce = 1  # earlier parameters lack it

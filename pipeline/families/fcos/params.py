"""The family's blocks of params.yaml."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import Count, Fraction, ImagesAtOnce, NonNegative, Overlap, Positive, Section

GROUPS = 32
"""Of the group norm."""


class FcosParams(Section):
    """The head, which locations predict an object, and the losses."""

    depth: Count
    channels: Count
    norm: Literal["group", "none"]
    prior: Annotated[float, Field(gt=0, lt=1)]
    centreness_on: Literal["box", "class"]
    regression: Literal["relu", "scaled_relu", "exp"]
    placement: Literal["centred", "torchvision"]
    ranges: list[Positive] | None
    range_borders: Literal["open", "closed"]
    centre_radius: Positive | None
    box_loss: Literal["iou", "giou", "diou", "ciou"]
    box_weight: Literal["none", "centreness"]
    normaliser: Literal["batch", "image"]
    focal_alpha: Fraction
    focal_gamma: NonNegative

    @model_validator(mode="after")
    def _groups_divide_the_channels(self) -> FcosParams:
        if self.norm == "group" and self.channels % GROUPS:
            raise ValueError(
                f"norm group is of {GROUPS} groups of channels; make channels a multiple of {GROUPS}, not "
                f"{self.channels}, or set norm to none"
            )
        return self

    @model_validator(mode="after")
    def _ranges_rise(self) -> FcosParams:
        if any(low >= high for low, high in itertools.pairwise(self.ranges or [])):
            raise ValueError(f"ranges {self.ranges}: each level's upper border must be above that of the level before")
        return self


class DetectFcosParams(Section):
    """What becomes a detection."""

    score_threshold: Fraction
    threshold_on: Literal["product", "class"]
    per_level: Count
    nms_iou: Overlap
    per_image: Count
    images_at_once: ImagesAtOnce = 1  # earlier parameters lack it

"""The block `proposal_targets` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import Fraction, Overlap, Positive, Quadruple, Section


class RoITargetParams(Section):
    """Which proposals are fg or bg, and the mean and std that normalise their deltas."""

    fg_iou: Fraction
    bg_iou_high: Fraction
    bg_iou_low: Fraction
    ignore_ioa: Overlap
    mean: Quadruple
    std: Annotated[list[Positive], Field(min_length=4, max_length=4)]

    @model_validator(mode="after")
    def _ordered(self) -> RoITargetParams:
        if not self.bg_iou_low <= self.bg_iou_high <= self.fg_iou:
            raise ValueError("bg_iou_low <= bg_iou_high <= fg_iou must hold")
        return self


class ProposalTargetParams(RoITargetParams):
    """The same for stored proposals, whose deltas may be normalised by their own mean and std."""

    normalise: Literal["fixed", "measured"]

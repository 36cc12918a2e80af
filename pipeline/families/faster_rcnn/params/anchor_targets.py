"""The block `anchor_targets` of params.yaml."""

from __future__ import annotations

from pydantic import model_validator

from pipeline.params.section import Fraction, Overlap, Section


class AnchorTargetParams(Section):
    """Which anchors are fg, bg or ignored."""

    fg_iou: Fraction
    bg_iou: Fraction
    allowed_border: float | None
    ignore_ioa: Overlap

    @model_validator(mode="after")
    def _bg_below_fg(self) -> AnchorTargetParams:
        if self.bg_iou > self.fg_iou:
            raise ValueError(f"bg_iou {self.bg_iou} is above fg_iou {self.fg_iou}")
        return self

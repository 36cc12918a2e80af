"""The block `anchors` of params.yaml."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import Positive, Section


class AnchorParams(Section):
    """Anchors of one location: all ratios (height over width) at all scales of the base size."""

    base_size: Positive
    ratios: Annotated[list[Positive], Field(min_length=1)]
    scales: Annotated[list[Positive], Field(min_length=1)]
    # Earlier parameters and bundles lack these.
    placement: Literal["centred", "detectron2", "torchvision"] = "centred"
    whole_sizes: bool = False

    @model_validator(mode="after")
    def _none_is_rounded_to_nothing(self) -> AnchorParams:
        size = self.base_size * min(self.scales)
        if self.whole_sizes and size < 1:
            raise ValueError(
                f"whole_sizes truncates sizes to whole pixels, and {size:.2g} px to none; raise base_size or the "
                "smallest of scales"
            )
        size = math.floor(size) if self.whole_sizes else size
        shortest = size * min(math.sqrt(min(self.ratios)), 1 / math.sqrt(max(self.ratios)))
        if self.placement == "torchvision" and shortest <= 1:
            raise ValueError(
                f"placement torchvision rounds anchors to whole pixels, and a side of {shortest:.2g} px to none; "
                "raise base_size or the smallest of scales"
            )
        return self

"""The block `resize` of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.section import Count, Section


class ResizeParams(Section):
    """The paper's rule (shorter side to a length unless the longer would pass its limit) or a fixed size."""

    rule: Literal["shorter_side", "fixed"]
    shorter_side: Count
    longer_side: Count
    fixed_width: Count
    fixed_height: Count
    # At most so many, as a view is stored in a byte. Parameters and bundles of 0.1.0 lack the key.
    extra_sides: Annotated[list[Count], Field(max_length=50)] = Field(default_factory=list)
    keep: Literal["pixels", "none"] = "pixels"  # earlier parameters and bundles lack it, too

    @model_validator(mode="after")
    def _each_scale_once(self) -> ResizeParams:
        if self.extra_sides and self.rule == "fixed":
            raise ValueError("extra_sides are of rule shorter_side; leave them empty, or change rule")
        if len({self.shorter_side, *self.extra_sides}) <= len(self.extra_sides):
            raise ValueError(f"extra_sides {self.extra_sides} and shorter_side {self.shorter_side} name a side twice")
        return self


def check_pixels_are_kept(sections: Mapping[str, Section]) -> str | None:
    """What is wrong where stages of a family read stored pixels alone, as a check of the family has it."""
    resize = sections["resize"]
    assert isinstance(resize, ResizeParams)
    if resize.keep == "pixels":
        return None
    return "resize.keep none is for dense detectors: stages of this family read stored pixels; set it to pixels"

"""What the family requires of the other sections of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pipeline.families.ssd.params import SSDParams
from pipeline.geometry.trunk_settings import NECK_SIDES
from pipeline.params.backbone import BackboneParams
from pipeline.params.resize import ResizeParams
from pipeline.params.section import Section


def check_levels(sections: Mapping[str, Section]) -> str | None:
    """Check that default boxes are given for all levels."""
    from pipeline.building.layout import map_layout  # not every importer needs NumPy

    backbone, own = cast(BackboneParams, sections["backbone"]), cast(SSDParams, sections["ssd"])
    strides = map_layout(backbone).strides
    if len(own.ratios) != len(strides):
        return (
            f"ssd.ratios has lists for {len(own.ratios)} levels, and the trunk of backbone.name {backbone.name} and "
            f"backbone.neck.name {backbone.neck.name} has {len(strides)}, of strides {', '.join(map(str, strides))}; "
            f"give ssd.ratios {len(strides)} lists and ssd.scales {len(strides) + 1} numbers, or choose another neck"
        )
    return None


def check_size(sections: Mapping[str, Section]) -> str | None:
    """Check that images have the size that the neck takes."""
    backbone, resize = cast(BackboneParams, sections["backbone"]), cast(ResizeParams, sections["resize"])
    if resize.rule != "fixed":
        return (
            f"resize.rule is {resize.rule}, and SSD's default boxes are shares of one size of image; set resize.rule "
            "to fixed, and resize.fixed_width and resize.fixed_height"
        )
    side = NECK_SIDES.get(backbone.neck.name)
    if side is not None and (resize.fixed_width, resize.fixed_height) != (side, side):
        return (
            f"resize.fixed_width {resize.fixed_width} and resize.fixed_height {resize.fixed_height} are not the size "
            f"that backbone.neck.name {backbone.neck.name} takes; set both to {side}"
        )
    return None

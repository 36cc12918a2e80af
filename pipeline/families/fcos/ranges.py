"""The range of each level: the longest distance from a location to an edge decides which level finds an object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

from pipeline.building.layout import map_layout
from pipeline.families.fcos.params import FcosParams
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.points import LevelsError
from pipeline.params.backbone import BackboneParams
from pipeline.params.section import Section

_STRIDES = 8
"""Of a level, in its upper border where params.yaml gives none: 64 px for a stride of 8, 512 px for 64."""


def ranges_of(layout: MapLayout, params: FcosParams) -> list[tuple[float, float]]:
    """The lower and the upper border of each level's range, px; the first begins at 0, the last has no end.

    Raises:
        LevelsError: params.yaml gives borders of another number of levels.
    """
    inner = layout.strides[:-1]
    borders = [float(_STRIDES * stride) for stride in inner] if params.ranges is None else params.ranges
    if len(borders) != len(inner):
        raise LevelsError(_fault(layout, params))
    return list(zip([0.0, *borders], [*borders, math.inf], strict=True))


def check_ranges(sections: Mapping[str, Section]) -> str | None:
    """How the ranges and the trunk's levels disagree, and what to do."""
    params = cast(FcosParams, sections["fcos"])
    if params.ranges is None:
        return None
    layout = map_layout(cast(BackboneParams, sections["backbone"]))
    return _fault(layout, params) if len(params.ranges) != len(layout.levels) - 1 else None


def _fault(layout: MapLayout, params: FcosParams) -> str:
    levels = len(layout.levels)
    of_levels = (
        f"{levels} level{'s' * (levels > 1)}, of stride{'s' * (levels > 1)} {', '.join(map(str, layout.strides))}"
    )
    return (
        f"fcos.ranges {params.ranges} has {len(params.ranges or [])} borders, and the trunk has {of_levels}; give "
        f"{levels - 1}, the upper border of each level but the last, or null"
    )

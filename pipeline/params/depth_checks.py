"""Whether the trunk's levels suit heads that run on all of them with the same weights."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.geometry.trunk_settings import TIMM
from pipeline.params.backbone import BackboneParams
from pipeline.params.section import Section


def check_one_depth(sections: Mapping[str, Section]) -> str | None:
    """A family's check that all levels have the same depth: a message, or None."""
    from pipeline.building.layout import map_layout  # not every importer needs NumPy

    backbone = sections["backbone"]
    assert isinstance(backbone, BackboneParams)
    if backbone.name.startswith(TIMM):  # of one map, or under a neck of one depth; and timm takes seconds to load
        return None
    depths = [level.channels for level in map_layout(backbone).levels]
    if len(set(depths)) == 1:
        return None
    return (
        f"the trunk of backbone.name {backbone.name} and backbone.neck.name {backbone.neck.name} has levels of "
        f"{', '.join(map(str, depths))} channels, and a head of this family runs on all levels with the same weights; "
        "choose another neck"
    )

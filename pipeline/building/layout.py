"""The layout of the trunk that params.yaml names, and what heads require of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.geometry.backbones import FROZEN_MAPS, neck_layout, trunk_layout
from pipeline.geometry.trunk_settings import ALL_STAGES, TIMM, NeckSettings, TrunkSettings
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.geometry.layout import Level, MapLayout
    from pipeline.params.backbone import BackboneParams


def trunk_settings(params: BackboneParams) -> TrunkSettings:
    """The trunk's settings in params.yaml."""
    neck = params.neck
    return TrunkSettings(
        frozen_stages=ALL_STAGES if params.frozen_stages == "all" else params.frozen_stages,
        ceil_pool=params.ceil_pool,
        stride_in_1x1=params.stride_in_1x1,
        norm_epsilon=params.norm_epsilon,
        size_divisible=params.size_divisible,
        neck=None if neck.name == "none" else NeckSettings(**neck.model_dump()),
    )


def map_layout(params: BackboneParams) -> MapLayout:
    """The levels of the trunk's maps, computed without building the trunk."""
    settings = trunk_settings(params)
    if not params.name.startswith(TIMM):
        return trunk_layout(params.name, settings)
    from pipeline.building.timm_model import timm_maps  # which loads torch

    own = timm_maps(params.name, settings).layout
    return neck_layout(own, settings)


def frozen_maps(params: BackboneParams) -> tuple[Level, ...]:
    """The maps that the trunk's frozen stages give of an image padded as `map_layout` says; none where none is
    frozen."""
    settings = trunk_settings(params)
    if not params.name.startswith(TIMM):
        return FROZEN_MAPS[params.name](settings)
    from pipeline.building.timm_model import timm_maps  # which loads torch

    return timm_maps(params.name, settings).layout.levels if settings.frozen_stages else ()


def one_depth(layout: MapLayout, head: str) -> int:
    """The channels of all maps, for a head that runs on every level with the same weights.

    Args:
        head: its name, for the message.

    Raises:
        InputError: depths differ.
    """
    try:
        return layout.channels
    except ValueError:
        depths = ", ".join(str(level.channels) for level in layout.levels)
        raise InputError(
            f"backbone.name: the trunk's levels have {depths} channels, and the {head} runs on all with the same "
            "weights; take a backbone whose levels are of one depth"
        ) from None

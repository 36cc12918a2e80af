"""The trunk that params.yaml describes, with or without the weights that a stage wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.weights import load_part, restore
from pipeline.building.layout import trunk_settings
from pipeline.building.memory_format import channels_last
from pipeline.building.timm_trunk import TimmTrunk
from pipeline.geometry.trunk_settings import TIMM
from pipeline.nn.backbones.build import BACKBONES

if TYPE_CHECKING:
    from pipeline.nn.backbones.trunk import Trunk
    from pipeline.params.backbone import BackboneParams


def new_trunk(params: BackboneParams) -> Trunk:
    """A trunk without weights."""
    settings = trunk_settings(params)
    return TimmTrunk(params.name, settings) if params.name.startswith(TIMM) else BACKBONES[params.name](settings)


def load_trunk(folder: Path, params: BackboneParams) -> Trunk:
    """The trunk that a stage wrote to `folder`, in evaluation mode."""
    trunk = new_trunk(params)
    restore(trunk, load_part(folder, "trunk"), folder)
    return channels_last(trunk)

"""Backbones by name. A new one is one file with a `Trunk`, one line here and its layout in
`pipeline.geometry.backbones`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pipeline.geometry.backbones import RESNETS, TINY, VGG16
from pipeline.geometry.trunk_settings import TrunkSettings
from pipeline.nn.backbones.resnet import ResNetTrunk
from pipeline.nn.backbones.trunk import Trunk
from pipeline.nn.backbones.vgg import VGGTrunk

BACKBONES: dict[str, Callable[[TrunkSettings], Trunk]] = {
    "vgg16": partial(VGGTrunk, VGG16),
    "tiny": partial(VGGTrunk, TINY),
    **{name: partial(ResNetTrunk, shape) for name, shape in RESNETS.items()},
}


def build_trunk(name: str, **settings: Any) -> Trunk:
    """A trunk of `TrunkSettings(**settings)`, with weights yet to be loaded or drawn."""
    return BACKBONES[name](TrunkSettings(**settings))

"""Layouts of maps for tests, and a trunk of three levels, of strides 6, 12 and 24."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.geometry.backbones import LAYOUTS, layout_of
from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.trunk_settings import NeckSettings, TrunkSettings
from pipeline.nn.backbones.build import BACKBONES
from pipeline.nn.backbones.trunk import Maps, Trunk, padded


def one_level(stride: int, channels: int = 1, *, round_up: bool = False) -> MapLayout:
    """A single map."""
    return MapLayout((Level(stride, channels, round_up),))


TOY = MapLayout((Level(6, 4), Level(12, 4), Level(24, 4)))
PYRAMID = layout_of("resnet50", size_divisible=32, neck=NeckSettings("fpn", channels=256))
"""P2 to P6, of strides 4 to 64, of images padded to multiples of 32: P6 of an odd P5 is rounded up."""


class ToyTrunk(Trunk):
    """A convolution a level, each on the map of the level before."""

    layers: nn.Sequential

    def __init__(self, settings: TrunkSettings = TrunkSettings()) -> None:  # noqa: B008
        super().__init__(TOY)
        sides = [6, 2, 2]
        self.layers = nn.Sequential(
            *(nn.Conv2d(before, 4, side, stride=side) for before, side in zip((3, 4, 4), sides, strict=True))
        )

    def initialise(self, generator: torch.Generator) -> None:
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, generator=generator)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def frozen(self, images: Tensor) -> Maps:
        return (padded(images, self.layout),)

    def rest(self, maps: Maps) -> Maps:
        levels = [*maps]
        for layer in self.layers:
            levels.append(layer(levels[-1]))
        return tuple(levels[1:])


def register_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the toy in the place of `tiny`."""
    monkeypatch.setitem(LAYOUTS, "tiny", lambda settings: TOY)
    monkeypatch.setitem(BACKBONES, "tiny", ToyTrunk)

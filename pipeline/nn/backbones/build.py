"""Backbones by name. A new one is one file with a `Trunk` and one line here."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from pipeline.geometry.backbones import TINY, VGG16
from pipeline.nn.backbones.trunk import Trunk
from pipeline.nn.backbones.vgg import VGGTrunk


class _MakesTrunk(Protocol):
    def __call__(self, *, frozen_blocks: int, ceil_pool: bool) -> Trunk: ...


BACKBONES: dict[str, _MakesTrunk] = {"vgg16": partial(VGGTrunk, VGG16), "tiny": partial(VGGTrunk, TINY)}


def build_trunk(name: str, *, frozen_blocks: int, ceil_pool: bool) -> Trunk:
    """A trunk with weights yet to be loaded or drawn."""
    return BACKBONES[name](frozen_blocks=frozen_blocks, ceil_pool=ceil_pool)

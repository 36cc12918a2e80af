"""Backbones by name. A new one is one file with a trunk like `VGGTrunk` and one line here.

A trunk is an `nn.Module` with `stride`, `out_channels`, `feature_size`, `normalise`, and a forward from normalised
images to feature maps.
"""

from __future__ import annotations

from pipeline.detector.vgg import TINY, VGG16, VGGTrunk

SHAPES = {"vgg16": VGG16, "tiny": TINY}

Trunk = VGGTrunk


def build_trunk(name: str, *, frozen_blocks: int, ceil_pool: bool) -> Trunk:
    """A trunk with weights yet to be loaded or drawn."""
    return VGGTrunk(SHAPES[name], frozen_blocks, ceil_pool)

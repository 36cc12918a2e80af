"""The common part of all Feature Pyramid Networks (Lin et al. 2017), named as torchvision's FeaturePyramidNetwork.

Shapes: B images; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.trunk_settings import NeckSettings
from pipeline.nn.backbones.frozen_norm import FrozenBatchNorm, conv_norm
from pipeline.nn.backbones.trunk import Neck
from pipeline.nn.convolution import conv3x3


class Pyramid(Neck):
    """1x1 convolutions to one depth, from the coarsest map down each added to the one below it, enlarged to its size by
    nearest neighbours, and a 3x3 convolution on each. A neck adds its coarser levels in `forward`.

    Args:
        layout: of the maps that the neck makes.
        levels: the levels of the maps that come in.
        settings: `norm` batch: frozen batch norm after every convolution, which then has no bias (torchvision's v2).
    """

    def __init__(self, layout: MapLayout, levels: Sequence[Level], settings: NeckSettings) -> None:
        super().__init__(layout)
        self.inner_blocks = nn.ModuleList(
            _layer(level.channels, settings.channels, 1, settings.norm) for level in levels
        )
        self.layer_blocks = nn.ModuleList(
            _layer(settings.channels, settings.channels, 3, settings.norm) for _ in levels
        )

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights as the references do: uniform, Caffe2's Xavier; biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def merge(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The (B, D, Fh, Fw) maps of `levels` to as many of one depth, the finest first."""
        inner = [_run(block, own) for block, own in zip(self.inner_blocks, maps, strict=True)]
        merged = [inner[-1]]
        for lateral in reversed(inner[:-1]):
            above = functional.interpolate(merged[-1], size=lateral.shape[2:], mode="nearest")
            merged.append(lateral.add_(above))
        return [_run(block, own) for block, own in zip(self.layer_blocks, reversed(merged), strict=True)]


def _layer(channels_in: int, channels_out: int, side: int, norm: str) -> nn.Sequential:
    layer = nn.Conv2d(channels_in, channels_out, side, padding=side // 2, bias=norm == "none")
    return nn.Sequential(layer) if norm == "none" else nn.Sequential(layer, FrozenBatchNorm(channels_out, 1e-5))


def _run(block: nn.Module, maps: Tensor) -> Tensor:
    layer, *norm = cast(nn.Sequential, block)
    assert isinstance(layer, nn.Conv2d)
    if norm:
        return conv_norm(layer, cast(FrozenBatchNorm, norm[0]), maps, relu=False)
    return conv3x3(layer, maps) if layer.kernel_size == (3, 3) else layer(maps)

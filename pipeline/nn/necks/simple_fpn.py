"""The simple feature pyramid of ViTDet (Li et al. 2022, section 3): levels of strides 4 to 32 of one map of stride 16.

Shapes: B images; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.geometry.layout import MapLayout
from pipeline.geometry.necks import simple_fpn_layout
from pipeline.geometry.trunk_settings import NeckSettings
from pipeline.nn.backbones.trunk import Maps, Neck


class ChannelNorm(nn.Module):
    """Layer norm of each cell over its channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, D, Fh, Fw) maps, normalised."""
        cells = maps.permute(0, 2, 3, 1)
        return functional.layer_norm(cells, (cells.shape[3],), self.weight, self.bias, 1e-6).permute(0, 3, 1, 2)


class SimpleFPN(Neck):
    """The map enlarged four times and twice by deconvolutions, as it is, and halved by max pooling; on each a 1x1 and a
    3x3 convolution, each with a layer norm. And every other cell of the coarsest as a further level, as FPN has it.

    Args:
        backbone: the layout of the one map that comes in, of stride 16. settings: of `channels`.
    """

    def __init__(self, backbone: MapLayout, settings: NeckSettings) -> None:
        super().__init__(simple_fpn_layout(backbone, settings))
        depth, channels = backbone.channels, settings.channels
        resized: tuple[tuple[list[nn.Module], int], ...] = (
            (
                [_twice(depth, depth // 2), ChannelNorm(depth // 2), nn.GELU(), _twice(depth // 2, depth // 4)],
                depth // 4,
            ),
            ([_twice(depth, depth // 2)], depth // 2),
            ([], depth),
            # Of an odd side the last row is pooled alone, so that the level reaches as far as the map.
            ([nn.MaxPool2d(2, ceil_mode=True)], depth),
        )
        self.levels = nn.ModuleList(
            nn.Sequential(
                *before,
                nn.Conv2d(own, channels, 1, bias=False),
                ChannelNorm(channels),
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                ChannelNorm(channels),
            )
            for before, own in resized
        )

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights: He's normal for convolutions, as detectron2's; deconvolutions keep the variance."""
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):  # each cell has one weight of a channel that comes in
                nn.init.normal_(module.weight, std=module.in_channels**-0.5, generator=generator)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)

    def forward(self, maps: Maps) -> Maps:
        """The (B, D, Fh, Fw) map of the backbone to those of each level, the finest first."""
        levels = [level(maps[0]) for level in self.levels]
        return (*levels, levels[-1][:, :, ::2, ::2])


def _twice(channels_in: int, channels_out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels_in, channels_out, 2, 2)

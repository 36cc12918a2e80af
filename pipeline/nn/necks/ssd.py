"""SSD's layers between VGG16 and its heads (Liu et al. 2016), named as in torchvision's `SSDFeatureExtractorVGG`.

torchvision's `extra.0` begins with conv5 and has fc6 and fc7 in `extra.0.7`; here conv5 belongs to the backbone, and
`extra.0` are fc6 and fc7.

Shapes: B images; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.geometry.layout import MapLayout
from pipeline.geometry.ssd_necks import SSD_SHAPES, ExtraLayer, ssd_layout
from pipeline.geometry.trunk_settings import NeckSettings
from pipeline.nn.backbones.trunk import Maps, Neck

_FIRST_SCALE = 20.0  # of the norm of conv4_3 (ParseNet; SSD, section 3.1)


class SSDNeck(Neck):
    """VGG16's conv4_3, each cell normalised over the channels and scaled by a learned factor a channel; fc6 and fc7 as
    convolutions on conv5_3, fc6 with holes; and further levels, each from the one before. Of another backbone its maps
    as they are, and the further levels.

    Args:
        backbone: the layout of the maps that come in.
        settings: of its name alone.
    """

    def __init__(self, backbone: MapLayout, settings: NeckSettings) -> None:
        super().__init__(ssd_layout(backbone, settings))
        shape, depth = SSD_SHAPES[settings.name], backbone.levels[-1].channels
        blocks = []
        self.scale_weight: nn.Parameter | None = None
        if shape.fc:
            self.scale_weight = nn.Parameter(torch.full((backbone.levels[0].channels,), _FIRST_SCALE))
            blocks.append(_fc(depth, shape.fc))
            depth = shape.fc
        for layer in shape.extra:
            blocks.append(_further(depth, layer))
            depth = layer.channels
        self.extra = nn.ModuleList(blocks)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights as the references do: Xavier's uniform, biases 0, scales 20."""
        if self.scale_weight is not None:
            nn.init.constant_(self.scale_weight, _FIRST_SCALE)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def take_published(self, state: Mapping[str, Tensor]) -> tuple[str, ...]:
        """fc6 and fc7 from those of VGG16's classifier, every fourth of their channels and every third row and column
        of fc6's 7 x 7, as the paper's VGG16 has them (`vgg16_reducedfc`)."""
        if self.scale_weight is None:
            return ()
        _, fc6, _, fc7, _ = cast(nn.Sequential, self.extra[0])
        assert isinstance(fc6, nn.Conv2d) and isinstance(fc7, nn.Conv2d)
        own = [state.get(f"classifier.{layer}.{kind}") for layer in (0, 3) for kind in ("weight", "bias")]
        wide = 4 * fc6.out_channels
        shapes = [(wide, fc6.in_channels * 49), (wide,), (wide, wide), (wide,)]
        if any(
            value is None or value.shape != shape or not value.isfinite().all()
            for value, shape in zip(own, shapes, strict=True)
        ):  # torchvision's weights of the convolutions alone have no numbers there
            return ()
        weight6, bias6, weight7, bias7 = (cast(Tensor, value).float()[::4] for value in own)
        layers = (
            (fc6, weight6.unflatten(1, (-1, 7, 7))[:, :, ::3, ::3], bias6),
            (fc7, weight7[:, ::4, None, None], bias7),
        )
        with torch.no_grad():
            for layer, weight, bias in layers:
                layer.weight.copy_(weight)
                cast(Tensor, layer.bias).copy_(bias)
        return "fc6", "fc7"

    def forward(self, maps: Maps) -> Maps:
        """The (B, D, Fh, Fw) maps of the backbone to those of each level, the finest first."""
        last = maps[-1]
        levels = list(maps)
        if self.scale_weight is not None:
            levels = [_normalised(maps[0], self.scale_weight)]
        for block in self.extra:
            last = block(last)
            levels.append(last)
        return tuple(levels)


def _fc(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.Conv2d(channels_in, channels, 3, padding=6, dilation=6),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 1),
        nn.ReLU(inplace=True),
    )


def _further(channels_in: int, layer: ExtraLayer) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, layer.inner, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(layer.inner, layer.channels, layer.side, layer.stride, layer.padding),
        nn.ReLU(inplace=True),
    )


def _normalised(maps: Tensor, scale: Tensor) -> Tensor:
    """(B, D, Fh, Fw) maps, each cell over its Euclidean norm, times (D,) scales; in float32, in the maps' dtype."""
    own = functional.normalize(maps.float()) * scale[:, None, None]
    return own.to(maps.dtype)

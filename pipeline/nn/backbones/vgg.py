"""VGG trunks: 3x3 convolutions in blocks, 2x2 pooling between them (Simonyan and Zisserman, 2015).

Shapes: B images; H, W image height, width; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn

from pipeline.geometry.backbones import VGGShape
from pipeline.geometry.trunk_settings import TrunkSettings
from pipeline.nn.backbones.trunk import Maps, Trunk, padded
from pipeline.nn.convolution import conv3x3, max_pool


class VGGTrunk(Trunk):
    """The convolutions of a VGG network without the last pooling.

    `layers` counts as torchvision's `vgg16().features[:-1]` does (`vgg16_bn` with batch norm), so its weights load by
    name. The blocks are its stages.

    Args:
        shape: VGG16 or TINY.
        settings: 2 frozen stages in the paper (conv1 and conv2); `ceil_pool` as in Caffe.
    """

    layers: nn.Sequential
    published_prefix = "features."
    published_head = MappingProxyType({"classifier.0.": "fc6.", "classifier.3.": "fc7."})

    def __init__(self, shape: VGGShape, settings: TrunkSettings) -> None:
        super().__init__(shape.layout(settings))
        layers: list[nn.Module] = []
        channels, frozen_layers = 3, 0
        for index, block in enumerate(shape.blocks):
            if index > 0:
                layers.append(nn.MaxPool2d(2, ceil_mode=settings.ceil_pool))
            for width in block:
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                if shape.batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                channels = width
            if index < settings.frozen_stages:
                frozen_layers = len(layers)
        if 0 < frozen_layers < len(layers):
            frozen_layers += 1  # the pooling, which makes the maps a quarter as large
        self.layers = nn.Sequential(*layers)
        self._frozen_layers = frozen_layers
        self.layers[:frozen_layers].requires_grad_(False)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights: He's normal, biases 0."""
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> VGGTrunk:
        """Set training mode; batch norm of the frozen blocks keeps its statistics all the same."""
        super().train(mode)
        self.layers[: self._frozen_layers].eval()
        return self

    def frozen(self, images: Tensor) -> Maps:
        """(B, 3, H, W) normalised images through the frozen blocks and the pooling after them."""
        with torch.no_grad():
            return (_run(self.layers[: self._frozen_layers], padded(images, self.layout)),)

    def rest(self, maps: Maps) -> Maps:
        """What `frozen` gave to the one (B, D, Fh, Fw) map."""
        return (_run(self.layers[self._frozen_layers :], *maps),)


def _run(layers: nn.Sequential, maps: Tensor) -> Tensor:
    """The layers in order, a ReLU together with the convolution before it."""
    waiting = list(layers)[::-1]
    while waiting:
        layer = waiting.pop()
        if isinstance(layer, nn.Conv2d):
            relu = bool(waiting) and isinstance(waiting[-1], nn.ReLU)
            if relu:
                waiting.pop()
            maps = conv3x3(layer, maps, relu=relu)
        else:
            maps = max_pool(layer, maps) if isinstance(layer, nn.MaxPool2d) else layer(maps)
    return maps

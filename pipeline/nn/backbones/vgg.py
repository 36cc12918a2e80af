"""VGG trunks: 3x3 convolutions in blocks, 2x2 pooling between them (Simonyan and Zisserman, 2015).

Shapes: B images; H, W image height, width; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from pipeline.geometry.backbones import VGGShape
from pipeline.geometry.trunk_settings import TrunkSettings
from pipeline.nn.backbones.trunk import Maps, Trunk, padded
from pipeline.nn.convolution import conv3x3, max_pool
from pipeline.nn.necks.build import build_neck


class VGGTrunk(Trunk):
    """The convolutions of a VGG network without the last pooling. With a neck the maps of the last blocks, as many as
    it reads, each before the pooling after it.

    `layers` counts as torchvision's `vgg16().features[:-1]` does (`vgg16_bn` with batch norm), so its weights load by
    name. The blocks are its stages.

    Args:
        shape: VGG16 or TINY.
        settings: 2 frozen stages in the paper (conv1 and conv2); `ceil_pool` as in Caffe.
    """

    layers: nn.Sequential
    published_prefix = "features."
    published_head: Mapping[str, str] = MappingProxyType({"classifier.0.": "fc6.", "classifier.3.": "fc7."})

    def __init__(self, shape: VGGShape, settings: TrunkSettings) -> None:
        own = shape.layout(settings)
        super().__init__(own, build_neck(settings.neck, own) if settings.neck else None)
        layers: list[nn.Module] = []
        channels, frozen_layers = 3, 0
        self._ends: list[int] = []
        for index, block in enumerate(shape.blocks):
            if index > 0:
                layers.append(nn.MaxPool2d(2, ceil_mode=settings.ceil_pool))
            for width in block:
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                if shape.batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                channels = width
            if index in shape.kept(settings):
                self._ends.append(len(layers))
            if index < settings.frozen_stages:
                frozen_layers = len(layers)
        if 0 < frozen_layers < len(layers):
            frozen_layers += 1  # the pooling, which makes the maps a quarter as large
        self.layers = nn.Sequential(*layers)
        self._frozen_layers = frozen_layers
        if settings.neck:
            self.published_head = {}
        self.layers[:frozen_layers].requires_grad_(False)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights: He's normal, biases 0."""
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> VGGTrunk:
        """Set training mode, except that batch norm of the frozen blocks keeps its statistics."""
        super().train(mode)
        self.layers[: self._frozen_layers].eval()
        return self

    @property
    def frozen_levels(self) -> int:  # type: ignore[override]
        """How many maps `frozen` gives: the one to start from, after those of frozen blocks that a neck reads."""
        passed = sum(end <= self._frozen_layers for end in self._ends)
        return passed if self._frozen_layers == len(self.layers) else passed + 1

    def frozen(self, images: Tensor) -> Maps:
        """(B, 3, H, W) normalised images through the frozen blocks and the pooling after them; before its map those of
        the frozen blocks that a neck reads."""
        with torch.no_grad():
            return self._through((padded(images, self.layout),), 0, self._frozen_layers)

    def rest(self, maps: Maps) -> Maps:
        """From the output of `frozen` to the (B, D, Fh, Fw) map of each level."""
        return self._through(maps, self._frozen_layers, len(self.layers))

    def _through(self, maps: Maps, first: int, last: int) -> Maps:
        """Layers first to last on the last of the maps; before what comes out, the maps of the blocks that are kept."""
        if first == last:
            return maps
        *kept, own = maps
        for end in self._ends:
            if first < end <= last:
                own = _run(self.layers[first:end], own)
                kept.append(own)
                first = end
        return tuple(kept) if first == last else (*kept, _run(self.layers[first:last], own))


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

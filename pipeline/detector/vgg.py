"""VGG trunks: 3x3 convolutions in five blocks, 2x2 pooling between them, stride 16 (Simonyan and Zisserman, 2015).

Shapes: B images; H, W image height, width; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# Of the ImageNet weights: RGB in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class VGGShape:
    """Output channels of each convolution, block by block, and the width of the classifier that comes with the weights."""

    blocks: tuple[tuple[int, ...], ...]
    hidden: int


VGG16 = VGGShape(((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)), 4096)
TINY = VGGShape(((16,), (32,), (64, 64), (128, 128), (128,)), 256)


class VGGTrunk(nn.Module):
    """The convolutions of a VGG network without the last pooling.

    `layers` counts as torchvision's `vgg16().features[:-1]` does, so its weights load by name. Convolutions of the
    first `frozen_blocks` blocks are never trained. The pixel mean and std belong to the weights and travel with them.

    Args:
        shape: VGG16 or TINY.
        frozen_blocks: 2 in the paper (conv1 and conv2).
        ceil_pool: round odd sides up when pooling, as Caffe does.
    """

    stride = 16

    def __init__(self, shape: VGGShape, frozen_blocks: int, ceil_pool: bool) -> None:
        super().__init__()
        self._ceil_pool = ceil_pool
        layers: list[nn.Module] = []
        channels, frozen_layers = 3, 0
        for index, block in enumerate(shape.blocks):
            if index > 0:
                layers.append(nn.MaxPool2d(2, ceil_mode=ceil_pool))
            for width in block:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            if index < frozen_blocks:
                frozen_layers = len(layers)
        self.layers = nn.Sequential(*layers)
        self._frozen_layers = frozen_layers
        self.out_channels = channels
        self.layers[:frozen_layers].requires_grad_(False)
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_MEAN))
        self.register_buffer("pixel_std", torch.tensor(IMAGENET_STD))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights: He's normal, biases 0."""
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def feature_size(self, height: int, width: int) -> tuple[int, int]:
        """(Fh, Fw) of an image of (H, W): four poolings by 2, rounding down, or up with `ceil_pool`."""
        return feature_size(height, width, self._ceil_pool)

    def normalise(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """(B, 3, H, W) uint8 RGB to float32, normalised; what lies outside each image's own (H, W) becomes 0."""
        mean, std = (value.reshape(1, 3, 1, 1) for value in (self.pixel_mean, self.pixel_std))
        normalised = (images.float() / 255 - mean) / std
        for image, (height, width) in zip(normalised, sizes, strict=True):
            image[:, height:] = 0
            image[:, :, width:] = 0
        return normalised

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to (B, D, Fh, Fw) maps. No gradient passes the frozen blocks."""
        with torch.no_grad():
            maps = self.layers[: self._frozen_layers](images)
        return self.layers[self._frozen_layers :](maps)


def feature_size(height: int, width: int, ceil_pool: bool) -> tuple[int, int]:
    """(Fh, Fw) of a stride-16 VGG trunk for an image of (H, W) pixels."""
    for _ in range(4):
        height, width = (-(-height // 2), -(-width // 2)) if ceil_pool else (height // 2, width // 2)
    return height, width

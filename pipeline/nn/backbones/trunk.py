"""What every backbone offers: from images to feature maps, and what the stages need to know about them.

Shapes: B images; H, W image height, width; D channels; Fh, Fw feature map height, width. Maps are tuples, one tensor a
level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.geometry.layout import MapLayout

Maps = tuple[Tensor, ...]

# Of the ImageNet weights: RGB in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Trunk(nn.Module):
    """The convolutions that all heads of a detector share.

    The pixel mean and std belong to the weights and travel with them. A backbone implements `initialise`, `frozen` and
    `trained`, and has weights of its own under `layers`, named as torchvision names them. A map has at least one cell,
    however thin the image: `frozen` begins with `at_least_a_cell`.

    Args:
        layout: the levels of the maps.
    """

    layers: nn.Sequential
    frozen_levels = 1
    """How many maps `frozen` gives."""

    def __init__(self, layout: MapLayout) -> None:
        super().__init__()
        self.layout = layout
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_MEAN))
        self.register_buffer("pixel_std", torch.tensor(IMAGENET_STD))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""
        raise NotImplementedError

    def frozen(self, images: Tensor) -> Maps:
        """(B, 3, H, W) normalised images to the maps that the layers which are trained start from, without gradient."""
        raise NotImplementedError

    def trained(self, maps: Maps) -> Maps:
        """What `frozen` gave to the (B, D, Fh, Fw) map of each level."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Maps:
        """(B, 3, H, W) normalised images to the (B, D, Fh, Fw) map of each level. No gradient passes frozen layers."""
        return self.trained(self.frozen(images))

    def normalise(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """(B, 3, H, W) uint8 RGB to float32, normalised; what lies outside each image's own (H, W) becomes 0."""
        mean, std = (value.reshape(1, 3, 1, 1) for value in (self.pixel_mean, self.pixel_std))
        normalised = images.float().sub_(mean * 255).div_(std * 255)
        for image, (height, width) in zip(normalised, sizes, strict=True):
            if image.shape[1:] != (height, width):
                image[:, height:] = 0
                image[:, :, width:] = 0
        return normalised


def at_least_a_cell(images: Tensor, least_side: int) -> Tensor:
    """(B, 3, H, W) normalised images, with zeros below and at the right where a side is shorter than `least_side`.

    So are smaller images of a batch padded. Without it a map of an image thinner than a stride would have no cell, and
    all that comes after the trunk would need a case of its own for such an image.
    """
    height, width = images.shape[2:]
    if height >= least_side and width >= least_side:
        return images
    return functional.pad(images, (0, max(0, least_side - width), 0, max(0, least_side - height)))

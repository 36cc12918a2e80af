"""The interface of trunks: from images to the feature maps that heads see, and what stages need to know about them.

Shapes: B images; H, W image height, width; D channels; Fh, Fw feature map height, width. Maps are tuples, one tensor a
level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.geometry.layout import MapLayout

Maps = tuple[Tensor, ...]

# Of the ImageNet weights: RGB in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Neck(nn.Module):
    """A module between a backbone and the heads: from the maps of the backbone's stages to those that heads see.

    Args:
        layout: of the maps that it makes.
    """

    def __init__(self, layout: MapLayout) -> None:
        super().__init__()
        self.layout = layout

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""
        raise NotImplementedError

    def take_published(self, state: Mapping[str, Tensor]) -> tuple[str, ...]:
        """Start layers from those that a published network has after the backbone's, by its names; what those layers
        are called, none where it has none."""
        return ()

    def forward(self, maps: Maps) -> Maps:
        """The (B, D, Fh, Fw) maps of the backbone, one per stage, to those of each level."""
        raise NotImplementedError


class Trunk(nn.Module):
    """The convolutions that all heads of a detector share: a backbone, and a neck where there is one.

    The pixel mean and std belong to the weights and travel with them. A backbone implements `initialise`, `frozen` and
    `rest`, and has weights of its own under `layers`, named as torchvision names them after `published_prefix`. A map
    has at least one cell, however thin the image: `frozen` begins with `padded`.

    Args:
        layout: the levels of the backbone's own maps.
        neck: None: heads see the backbone's own maps.

    Attributes:
        layout: the levels of the maps that heads see. backbone_layout: those of the backbone's own maps.
    """

    layers: nn.Module
    published_prefix = ""
    """What torchvision puts before the names of `layers`."""
    published_head: Mapping[str, str] = MappingProxyType({})
    """Which of a published network's further layers a RoI head starts from, by prefix: theirs to ours."""
    frozen_levels = 1
    """How many maps `frozen` gives."""

    def __init__(self, layout: MapLayout, neck: Neck | None = None) -> None:
        super().__init__()
        self.layout = neck.layout if neck else layout
        self.backbone_layout = layout
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_MEAN))
        self.register_buffer("pixel_std", torch.tensor(IMAGENET_STD))
        self.neck = neck

    def initialise(self, generator: torch.Generator) -> None:
        """Draw fresh weights of the backbone."""
        raise NotImplementedError

    def frozen(self, images: Tensor) -> Maps:
        """(B, 3, H, W) normalised images to the maps that the layers which are trained start from, without gradient."""
        raise NotImplementedError

    def rest(self, maps: Maps) -> Maps:
        """From the output of `frozen` to the backbone's own maps."""
        raise NotImplementedError

    def trained(self, maps: Maps) -> Maps:
        """From the output of `frozen` to the (B, D, Fh, Fw) map of each level."""
        own = self.rest(maps)
        return self.neck(own) if self.neck else own

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


def padded(images: Tensor, layout: MapLayout) -> Tensor:
    """(B, 3, H, W) normalised images, with zeros below and at the right as the layout has images padded.

    So are smaller images of a batch padded. Without it a map of an image thinner than a stride would have no cell, and
    all that comes after the trunk would need a case of its own for such an image.
    """
    sides = np.array(images.shape[2:])
    down, right = (layout.padded(sides) - sides).tolist()
    return functional.pad(images, (0, right, 0, down)) if down or right else images

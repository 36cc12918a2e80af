"""From stores to tensors: images, or feature maps instead, padded to one size.

Shapes: B images; H, W the batch's padded height, width; D channels; Fh, Fw feature map height, width. Maps are tuples,
one tensor per level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

if TYPE_CHECKING:
    from pipeline.artifacts.image_views import Entry
    from pipeline.artifacts.maps import FeatureMaps
    from pipeline.artifacts.resized_images import ResizedImages


@dataclass(frozen=True)
class Views:
    """What the network sees of B images: `images` (B, 3, H, W) uint8 or `maps`, (B, D, Fh, Fw) of each level,
    padded with zeros, or `each` of them alone.

    `sizes` are the images' own (H, W); `entries` name them.
    """

    entries: list[Entry]
    sizes: list[tuple[int, int]]
    images: Tensor | None = None
    maps: tuple[Tensor, ...] | None = None
    each: list[Views] | None = None


class ViewSource(Protocol):
    """A source of views: images, or feature maps instead."""

    def load(self, entries: Sequence[Entry]) -> Views:
        """The views of some entries, padded to a common size."""


def image_views(entries: Sequence[Entry], pixels: Sequence[np.ndarray]) -> Views:
    """Views of entries whose pixels are (H, W, 3) uint8 RGB."""
    arrays = [own.transpose(2, 0, 1) for own in pixels]
    return Views(list(entries), [array.shape[1:] for array in arrays], images=_stack(arrays))


class ImageViews:
    """Views of resized images, mirrored at load time."""

    def __init__(self, images: ResizedImages) -> None:
        self._images = images

    def load(self, entries: Sequence[Entry]) -> Views:
        """The pixels of some entries."""
        return image_views(entries, [self._images.pixels(entry) for entry in entries])


class MapViews:
    """Views of cached feature maps."""

    def __init__(self, maps: FeatureMaps) -> None:
        self._maps = maps

    def load(self, entries: Sequence[Entry]) -> Views:
        """The maps of some entries."""
        sizes = [self._maps.size(entry) for entry in entries]
        of_levels = zip(*(self._maps[entry] for entry in entries), strict=True)
        return Views(list(entries), sizes, maps=tuple(_stack(level) for level in of_levels))


class SingleViews:
    """Views of another source, each loaded alone, without padding."""

    def __init__(self, source: ViewSource) -> None:
        self._source = source

    def load(self, entries: Sequence[Entry]) -> Views:
        """The views of some entries in `Views.each`."""
        each = [self._source.load([entry]) for entry in entries]
        return Views(list(entries), [size for own in each for size in own.sizes], each=each)


def _stack(arrays: Sequence[np.ndarray]) -> Tensor:
    """(B, channels, H, W) in channels_last layout, zero where an array does not reach."""
    height, width = max(a.shape[1] for a in arrays), max(a.shape[2] for a in arrays)
    dtype = torch.from_numpy(np.empty(0, arrays[0].dtype)).dtype
    # Pinned from the start where there is a GPU: a copy into pinned memory would take as long again. Processes that
    # make batches cannot use the GPU.
    pinned = get_worker_info() is None and torch.cuda.is_available()
    stacked = torch.empty(len(arrays), height, width, arrays[0].shape[0], dtype=dtype, pin_memory=pinned)
    for target, array in zip(stacked.numpy(), arrays, strict=True):
        _, own_height, own_width = array.shape
        target[:own_height, :own_width] = array.transpose(1, 2, 0)
        target[:own_height, own_width:] = 0
        target[own_height:] = 0
    return stacked.permute(0, 3, 1, 2)

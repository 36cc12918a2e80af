"""The feature maps of a batch, whatever its views are.

Shapes: B images; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.feeding.frozen_trunk import FrozenTrunk
    from pipeline.feeding.views import Views
    from pipeline.nn.backbones.trunk import Maps, Trunk


def maps_of(trunk: Trunk | FrozenTrunk | None, views: Views) -> Maps:
    """Feature maps of a batch, one per level: computed by the trunk from images or from the maps of its frozen blocks,
    or, without a trunk, as cached; by a frozen trunk as they would be cached."""
    if views.each is not None:
        return cast("FrozenTrunk", trunk)(views)
    trunk = cast("Trunk | None", trunk)
    if views.maps is not None:
        kind = views.maps[0].device.type
        dtype = torch.get_autocast_dtype(kind) if trunk and torch.is_autocast_enabled(kind) else torch.float32
        # In two steps, as torch has no fast way from float16 to bf16.
        maps = tuple(level.float().to(dtype) for level in views.maps)
        return trunk.trained(maps) if trunk else maps
    assert trunk is not None and views.images is not None
    maps = trunk(trunk.normalise(views.images, views.sizes))
    _check_layout(trunk, maps, views.images)
    return maps


def _check_layout(trunk: Trunk, maps: Maps, images: Tensor) -> None:
    """Check the trunk's maps against the layout, which alone determines the anchors."""
    height, width = images.shape[2:]
    made = [(level.shape[1], *level.shape[2:]) for level in maps]
    layout = trunk.layout
    expected = [(own.channels, *size) for own, size in zip(layout.levels, layout.sizes(height, width), strict=True)]
    if made != expected:
        raise InputError(
            f"{type(trunk).__name__}: its maps of an image of {height} x {width} px are {made} (channels, height, "
            f"width), its layout says {expected}; correct the trunk, or its layout in pipeline/geometry/backbones.py"
        )

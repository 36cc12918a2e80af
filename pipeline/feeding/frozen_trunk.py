"""A trunk that is run but not trained: that of steps 3 and 4, whose maps are stored or computed in every iteration.

Both give the same maps, bit for bit, unless `features.images_at_once` is above 1: each view goes through the trunk
alone, unpadded, as a sum may be taken in another order in a larger batch, and what comes out is rounded as it would be
stored.

Shapes: B images; D channels; Fh, Fw feature map height, width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pipeline.artifacts.maps import FeatureMaps
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.building.trunk import load_trunk
from pipeline.feeding.maps import maps_of
from pipeline.feeding.sources import trunk_source
from pipeline.feeding.stored_maps import as_stored, check_finite, stored_dtype
from pipeline.feeding.views import MapViews, SingleViews, Views, ViewSource
from pipeline.runtime.inference import for_inference

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pipeline.artifacts.image_views import Entry
    from pipeline.nn.backbones.trunk import Maps, Trunk
    from pipeline.runtime.stage import Stage


class FrozenTrunk:
    """Gives a step the maps of views that are loaded one by one (`Views.each`), or of one size together.

    It is not a module, so that neither the state of a training nor its optimiser has its weights.

    Args:
        trunk: on its device, see `for_inference`.
        dtype: the name of the dtype that its maps would be stored in, `features.dtype`.
    """

    def __init__(self, trunk: Trunk, dtype: str) -> None:
        self._trunk, self._dtype = trunk, dtype

    def stored(self, views: Views) -> Maps:
        """The (B, D, Fh, Fw) map of each level in the dtype of their file, zero where an image does not reach."""
        dtype = stored_dtype(self._dtype)
        with torch.no_grad():
            if views.each is None:
                return tuple(as_stored(level, dtype) for level in maps_of(self._trunk, views))
            of_views = [[as_stored(level, dtype) for level in maps_of(self._trunk, view)] for view in views.each]
        return tuple(_together(level) for level in zip(*of_views, strict=True))

    def __call__(self, views: Views) -> Maps:
        """The same in float32, as a step gets stored maps.

        Raises:
            InputError: a value is too large for the dtype of the file. On a GPU, which would have to be waited for,
                such a value reaches the loss, which is then not finite.
        """
        maps = self.stored(views)
        if maps[0].device.type == "cpu":
            check_finite(maps, views.entries, self._dtype)
        return tuple(level.float() for level in maps)


def frozen_trunk(stage: Stage, accelerator: Accelerator) -> FrozenTrunk:
    """The trunk in the folder `trunk` of a stage."""
    trunk = for_inference(load_trunk(stage.input("trunk"), stage.params.backbone), accelerator)
    return FrozenTrunk(trunk, stage.params.features.dtype)


def frozen_source(stage: Stage, images: ResizedImages) -> ViewSource:
    """The input of `frozen_trunk`: images or the maps of its frozen stages, one by one."""
    return SingleViews(trunk_source(stage, images))


class SharedMaps:
    """The maps of step 2's trunk for a stage of steps 3 and 4: as `features` kept them, or where `features.keep` is
    none the trunk and what it sees.

    Attributes:
        source: of the views. trunk: None: the views are its maps.
        sizes: the (H, W) of every entry, in the order of the images.
    """

    def __init__(self, stage: Stage, accelerator: Accelerator) -> None:
        self.source: ViewSource
        self.trunk: FrozenTrunk | None = None
        self.sizes: dict[Entry, tuple[int, int]]
        if stage.params.features.keep == "maps":
            maps = FeatureMaps(stage.input("features"))
            self.source, self.sizes = MapViews(maps), {entry: maps.size(entry) for entry in maps}
        else:
            images = ResizedImages(stage.input("resize"), "train")
            self.source, self.trunk = frozen_source(stage, images), frozen_trunk(stage, accelerator)
            self.sizes = {entry: images.seen(entry).size for entry in images.entries(stage.params.base.mirror)}


def _together(maps: Sequence[Tensor]) -> Tensor:
    """(1, D, Fh, Fw) maps as one (B, D, Fh, Fw), laid out as `MapViews` lays out stored ones."""
    height, width = max(own.shape[2] for own in maps), max(own.shape[3] for own in maps)
    stacked = maps[0].new_zeros(len(maps), height, width, maps[0].shape[1]).permute(0, 3, 1, 2)
    for target, own in zip(stacked, maps, strict=True):
        target[:, : own.shape[2], : own.shape[3]] = own[0]
    return stacked

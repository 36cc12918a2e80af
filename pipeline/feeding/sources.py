"""The input that a stage gives a trunk: training images, or maps of its frozen blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.artifacts.maps import FeatureMaps
from pipeline.feeding.views import ImageViews, MapViews

if TYPE_CHECKING:
    from pipeline.artifacts.resized_images import ResizedImages
    from pipeline.feeding.views import ViewSource
    from pipeline.runtime.stage import Stage


def trunk_source(stage: Stage, images: ResizedImages) -> ViewSource:
    """The maps of its frozen blocks if frozen_features is given and has kept them, else images."""
    if stage.inputs["frozen_features"] is None:
        return ImageViews(images)
    maps = FeatureMaps(stage.input("frozen_features"))
    return MapViews(maps) if len(maps) else ImageViews(images)

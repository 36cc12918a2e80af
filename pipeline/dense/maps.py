"""The outputs of a dense head for views of images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.dense.head import Outputs, check_outputs
from pipeline.dense.level_checks import levels_told
from pipeline.feeding.maps import maps_of
from pipeline.nn.backbones.trunk import padded

if TYPE_CHECKING:
    from pipeline.dense.head import DenseHead
    from pipeline.feeding.views import Views
    from pipeline.geometry.points import Grid
    from pipeline.nn.backbones.trunk import Trunk


def outputs_of(trunk: Trunk, head: DenseHead, views: Views) -> tuple[Outputs, Grid]:
    """The head's (B, N, ...) outputs for B images, and the locations of the padded images that they are of."""
    assert views.images is not None
    # A head may have coarser levels than the trunk; a thin image is padded to a cell of those as well.
    images = padded(padded(views.images, trunk.layout), head.locations.layout)
    maps = maps_of(trunk, replace(views, images=images))
    with levels_told(f"{type(head).__module__}: {type(head).__name__}"):
        outputs = head(maps)
    grid = head.locations.of_maps(images.shape[2], images.shape[3])
    check_outputs(head, outputs, grid)
    return outputs, grid

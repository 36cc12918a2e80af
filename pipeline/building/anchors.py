"""The anchors that params.yaml describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.nn.anchors import AnchorGrid

if TYPE_CHECKING:
    from pipeline.geometry.layout import MapLayout
    from pipeline.params.anchors import AnchorParams


def anchor_grid(params: AnchorParams, layout: MapLayout) -> AnchorGrid:
    """The anchors of params.yaml on a trunk's maps."""
    return AnchorGrid(params.base_size, params.ratios, params.scales, layout, params.placement, params.whole_sizes)

"""Panels of objectness maps: where the RPN sees objects."""

from __future__ import annotations

import numpy as np

from pipeline.views.contact_sheet import Tile
from pipeline.views.drawing import WHITE, BoxLayer, draw_boxes
from pipeline.views.panels.maps import location_map_panels, location_maps
from pipeline.views.panels.request import PanelRequest


def objectness_panels(request: PanelRequest, pixels: np.ndarray, gt_boxes: np.ndarray) -> list[Tile]:
    """Where the RPN sees objects, with the gt boxes; or the image and word that there is no map."""
    found = location_maps(request.folder, request.entry)
    if found is None:
        gt = BoxLayer(gt_boxes, WHITE, thickness=2, dash="dashed")
        note = f"{request.name}: no objectness map; proposals of a file, and runs before there were maps, have none"
        return [Tile(draw_boxes(pixels, [gt], request.side), note)]
    return location_map_panels(request, pixels, gt_boxes, found, "objectness, the largest fg probability")

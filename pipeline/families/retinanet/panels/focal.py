"""Pictures of the detections: where background would contribute most to the focal loss.

Shapes: Fh, Fw feature map height, width of a level.
"""

from __future__ import annotations

import numpy as np

from pipeline.views.contact_sheet import Tile
from pipeline.views.marks import heat_over, ramp_keys
from pipeline.views.panels.dense import detect_dense_panels
from pipeline.views.panels.maps import location_maps
from pipeline.views.panels.request import PanelRequest

_LARGEST = 1 - 2.0**-11  # the scores are float16, whose 1 may be a little less


def detect_panels(request: PanelRequest) -> list[Tile]:
    """The best class score of each cell, the gt and the detections by kind, and last how much each cell weighs in the
    focal loss where it is background. In brief without that."""
    found = detect_dense_panels(request)
    maps = None if request.brief else location_maps(request.folder, request.entry)
    return [*found, *_weight_panels(request, maps.values)] if maps else found


def _weight_panels(request: PanelRequest, scores: list[np.ndarray]) -> list[Tile]:
    """One panel per level, of (Fh, Fw) scores each: the weight of the best class of the best anchor of each cell."""
    rule, pixels = request.params.retinanet, request.images.pixels(request.entry)
    most, tiles = 1 - rule.focal_alpha, []
    # Without its weight a background class of probability p costs -log(1 - p).
    entropy = np.concatenate([-np.log1p(-np.minimum(own, _LARGEST)).ravel() for own in scores])
    weights = [most * own**rule.focal_gamma for own in scores]
    focal = entropy * np.concatenate([own.ravel() for own in weights])
    few, many = _cells_of_half(focal), _cells_of_half(entropy)
    half = f"; of all levels {few:,} of {len(focal):,} cells make half of the loss, without the weight {many:,}"
    keys = ramp_keys(np.array([0, 0.5, 1]), ["0", f"{most / 2:.3g}", f"{most:.3g} (1 - focal_alpha)"])
    for level, own in enumerate(weights):
        what = f"weight of a cell's best class in the focal loss if it is background, highest {own.max():.3f}"
        caption = f"{request.layout.prefix(level)}{what}{half if level == 0 else ''}"
        tiles.append(Tile(heat_over(pixels, own, request.side, 0.0, most), caption, keys))
    return tiles


def _cells_of_half(losses: np.ndarray) -> int:
    """The smallest number of losses that make up half of their sum."""
    total = np.cumsum(np.sort(losses)[::-1])
    return int(np.searchsorted(total, total[-1] / 2)) + 1

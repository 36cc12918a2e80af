"""Panels of the targets: the locations assigned to each gt box, the range of each level, and why others have none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.dense_targets import DenseTargets
from pipeline.building.layout import map_layout
from pipeline.families.fcos.dense_targets import reasons_of
from pipeline.families.fcos.locations import locations, points_of
from pipeline.families.fcos.ranges import ranges_of
from pipeline.geometry.points import Grid
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import ORANGE, BoxLayer, calmed, draw_boxes
from pipeline.views.panels.dense import TargetWords, dense_target_panels
from pipeline.views.panels.gt import GT_COLOURS
from pipeline.views.panels.image_panels import ImagePanels
from pipeline.views.panels.request import PanelRequest


def target_panels(request: PanelRequest) -> list[Tile]:
    """The gt boxes with how many locations are to find each; why; then, of each level that has any, its locations, and
    the range of the distances that it finds. In brief the first."""
    first, *levels = dense_target_panels(request, _WORDS)
    return [first] if request.brief else [first, _why_panel(request), *levels]


def _range_of(request: PanelRequest, level: int) -> str:
    layout = map_layout(request.params.backbone)
    if len(layout.levels) == 1:
        return ""
    least, most = ranges_of(layout, request.params.fcos)[level]
    return f", edges {least:g} px away and more" if most == np.inf else f", edges {least:g} to {most:g} px away"


def _points(request: PanelRequest, grid: Grid, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    if grid != locations(map_layout(request.params.backbone), request.params).of(*size):
        raise InputError(f"{request.folder}: has other levels than params.yaml; dvc repro {request.command.stage}")
    return points_of(grid, size, request.params)


_WORDS = TargetWords("centre-ness", _range_of, _points)


def _why_panel(request: PanelRequest) -> Tile:
    """Of each gt box how many locations lie inside, of these near its centre, of these in their level's range, and of
    these are to find it: the others find a smaller one."""
    own, pixels = DenseTargets(request.folder)[request.entry], request.images.pixels(request.entry)
    gt_boxes, size = request.images.gt_of(request.entry).trainable.boxes, (pixels.shape[0], pixels.shape[1])
    layers, none = [], {"inside": 0, "near the centre": 0, "in range": 0, "left": 0}
    for gt, why in enumerate(reasons_of(gt_boxes, own.grid, size, request.params)):
        near = why.inside & why.near
        counts = [why.inside.sum(), near.sum(), (near & why.in_range).sum(), (own.matched_gt == gt).sum()]
        first = next((name for name, count in zip(none, counts, strict=True) if not count), None)
        if first is not None:
            none[first] += 1
        text = f"{gt}: {' > '.join(str(int(count)) for count in counts)}"
        layers.append(BoxLayer(gt_boxes[gt : gt + 1], GT_COLOURS[gt % (len(GT_COLOURS) - 1)], [text], thickness=3))
    canvas = draw_boxes(calmed(pixels), layers, request.side)
    boxes = count_text(len(gt_boxes), "gt box", "gt boxes")
    caption = f"{request.name}: locations inside each of {boxes}, near its centre, in range, and left by smaller boxes"
    caption += "".join(f"; {count} without one {name}" for name, count in none.items() if count)
    return Tile(canvas, caption, [Key(ORANGE, "gt box with its number: inside > near > in range > found", "solid")])


PANELS = {"dense_targets": ImagePanels(target_panels)}

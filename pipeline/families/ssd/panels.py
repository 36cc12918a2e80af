"""Pictures of the targets: which locations predict which gt box, and the default boxes themselves.

Shapes: N default boxes of an image; F of them that are to find a gt box.
"""

from __future__ import annotations

import numpy as np

from pipeline.artifacts.dense_targets import DenseTargets, StoredAssignment
from pipeline.families.ssd.default_boxes import default_boxes, locations
from pipeline.geometry.points import Grid, Places
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import ORANGE, WHITE, BoxLayer, calmed, draw_boxes
from pipeline.views.panels.best_boxes import Matched, best_box_panel
from pipeline.views.panels.dense import TargetWords, dense_target_panels
from pipeline.views.panels.drawn import drawn_view
from pipeline.views.panels.gt import GT_COLOURS
from pipeline.views.panels.image_panels import ImagePanels
from pipeline.views.panels.request import PanelRequest


def target_panels(request: PanelRequest) -> list[Tile]:
    """The panels of all dense families and, after the first, the best default box of each gt box and the default boxes
    of each level. In brief the first."""
    first, *others = dense_target_panels(request, TargetWords("IoU"))
    if request.brief:
        return [first]
    own = DenseTargets(request.folder)[request.entry]
    if request.entry.drawn:
        pixels, gt_boxes, _ = drawn_view(request)
    else:
        pixels, gt_boxes = request.images.pixels(request.entry), request.images.gt_of(request.entry).trainable.boxes
    size = (pixels.shape[0], pixels.shape[1])
    if own.grid != locations(request.layout, request.params).of(*size):
        raise InputError(
            f"{request.folder}: has other default boxes than params.yaml; dvc repro {request.command.stage}"
        )
    boxes, least = default_boxes(own.grid, size, request.params.ssd), request.params.ssd.fg_iou
    matched = Matched(boxes[own.fg], own.matched_gt, own.quality, least, "default box")
    best = best_box_panel(request, pixels, gt_boxes, matched)
    levels = range(len(own.grid.strides))
    return [first, best, *(_level_panel(request, pixels, own, boxes, level) for level in levels), *others]


def _level_panel(
    request: PanelRequest, pixels: np.ndarray, own: StoredAssignment, boxes: np.ndarray, level: int
) -> Tile:
    """The default boxes of the cell in the middle, and those of the level that are to find a gt box."""
    grid = own.grid
    middle = boxes[_middle(grid, level)]
    fg = np.flatnonzero(grid.levels()[own.fg] == level)
    layers = [BoxLayer(middle, WHITE, thickness=1)]
    for gt in np.unique(own.matched_gt[fg]).tolist():
        layers.append(BoxLayer(boxes[own.fg[fg[own.matched_gt[fg] == gt]]], GT_COLOURS[gt % len(GT_COLOURS)]))
    sides = np.sqrt((middle[:, 2:] - middle[:, :2]).prod(axis=1))
    height, width = grid.cells[level]
    caption = (
        f"level {level}, stride {grid.strides[level]}: {count_text(len(middle), 'default box', 'default boxes')} a "
        f"cell of {sides.min():.0f} to {sides.max():.0f} px, {width} x {height} cells; {len(fg)} are to find "
        f"{count_text(len(np.unique(own.matched_gt[fg])), 'gt box', 'gt boxes')}"
    )
    keys = [Key(WHITE, "default boxes of the cell in the middle", "solid"), Key(ORANGE, "those of a gt box", "solid")]
    return Tile(draw_boxes(calmed(pixels), layers, request.side), caption, keys)


def _middle(grid: Grid, level: int) -> np.ndarray:
    """Indices of the default boxes of a level's cell in the middle."""
    height, width = grid.cells[level]
    anchor = np.arange(grid.per_cell[level])
    same = np.zeros_like(anchor)
    return grid.index(Places(same + level, same + height // 2, same + width // 2, anchor))


PANELS = {"dense_targets": ImagePanels(target_panels)}

"""What is drawn of the targets: which anchors are to find which gt box, how well they suit it, and which are ignored.

Shapes: K anchors of the maps of an image, the cells that it is padded by among them.
"""

from __future__ import annotations

import numpy as np

from pipeline.artifacts.dense_targets import DenseTargets
from pipeline.families.retinanet.locations import locations
from pipeline.geometry.anchors import grid_anchors, grid_centres, grid_shapes, level_shapes
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import ORANGE, BoxLayer, dimmed, draw_boxes
from pipeline.views.panels.anchors import assignment_panels
from pipeline.views.panels.dense import dense_target_panels
from pipeline.views.panels.gt import GT_COLOURS
from pipeline.views.panels.request import PanelRequest
from pipeline.views.stored_anchors import Assignment


def target_panels(request: PanelRequest) -> list[Tile]:
    """The gt boxes with how many anchors are to find each; the best anchor of each; then, level by level, where anchors
    lie, which are fg, and how many of each cell are fg, ignored and bg. In brief the first."""
    first, *_ = dense_target_panels(request)
    if request.brief:
        return [first]
    own = _assignment(request)
    return [first, _best_panel(request, own), *assignment_panels(request, own)]


def _assignment(request: PanelRequest) -> Assignment:
    """The stored assignment among all anchors of the padded image; those in the padding are not background."""
    own, layout, anchors = DenseTargets(request.folder)[request.entry], request.layout, request.params.anchors
    size = request.images.pixels(request.entry).shape[:2]
    known = locations(layout, request.params)
    if own.grid != known.of(*size):
        raise InputError(f"{request.folder}: is of other anchors than params.yaml's; dvc repro {request.command.stage}")
    padded = known.of_maps(*size)
    shapes, placement = grid_shapes(anchors.base_size, anchors.ratios, anchors.scales), anchors.placement
    every = np.concatenate(
        [
            grid_anchors(
                grid_centres(padded.cells, level, layout, placement),
                level_shapes(shapes, scale, placement, anchors.whole_sizes),
            )
            for level, scale in enumerate(layout.scales)
        ]
    )
    within = own.grid.within(padded)
    is_bg = np.zeros(len(padded), bool)
    is_bg[within] = own.dense_labels == 0
    fg = within[own.fg]
    return Assignment(fg, own.matched_gt, own.quality, every[fg], is_bg)


def _best_panel(request: PanelRequest, own: Assignment) -> Tile:
    """Each gt box, the anchor that it suits best of those that are to find it, and their IoU."""
    gt_boxes, least = request.images.gt_of(request.entry).trainable.boxes, request.params.retinanet.fg_iou
    layers, best = [], []
    for gt, box in enumerate(gt_boxes):
        colour, of_gt = GT_COLOURS[gt % len(GT_COLOURS)], np.flatnonzero(own.matched_gt == gt)
        text = f"{gt}: none"
        if len(of_gt):
            chosen = of_gt[own.max_iou[of_gt].argmax()]
            best.append(float(own.max_iou[chosen]))
            text = f"{gt}: IoU {best[-1]:.2f}"
            layers.append(BoxLayer(own.fg_anchors[chosen : chosen + 1], colour, thickness=2))
        layers.append(BoxLayer(box[None], colour, [text], thickness=3, dash="dashed"))
    few, none = sum(iou < least for iou in best), len(gt_boxes) - len(best)
    caption = f"{request.name}: the best anchor of {count_text(len(gt_boxes), 'gt box', 'gt boxes')}"
    caption += f"; {few} below {least:g}, found since no other is better" if few else ""
    caption += f"; {none} without, as each of its anchors suits another box more" if none else ""
    canvas = draw_boxes(dimmed(request.images.pixels(request.entry)), layers, request.side)
    keys = [Key(ORANGE, "gt box with its number and IoU", "dashed"), Key(ORANGE, "its best anchor", "solid")]
    return Tile(canvas, caption, keys)

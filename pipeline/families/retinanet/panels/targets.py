"""Pictures of the targets: which anchors predict which gt box, how well they fit, and which are ignored.

Shapes: K anchors of the maps of an image, the cells that it is padded by among them.
"""

from __future__ import annotations

import numpy as np

from pipeline.artifacts.dense_targets import DenseTargets
from pipeline.families.retinanet.locations import locations
from pipeline.geometry.anchors import grid_anchors, grid_centres, grid_shapes, level_shapes
from pipeline.runtime.errors import InputError
from pipeline.views.contact_sheet import Tile
from pipeline.views.panels.anchors import assignment_panels
from pipeline.views.panels.best_boxes import Matched, best_box_panel
from pipeline.views.panels.dense import TargetWords, dense_target_panels
from pipeline.views.panels.request import PanelRequest
from pipeline.views.stored_anchors import Assignment


def target_panels(request: PanelRequest) -> list[Tile]:
    """The gt boxes with how many anchors are to find each; the best anchor of each; then, level by level, where anchors
    lie, which are fg, and how many of each cell are fg, ignored and bg. In brief the first."""
    first, *_ = dense_target_panels(request, TargetWords("IoU"))
    if request.brief:
        return [first]
    own, pixels = _assignment(request), request.images.pixels(request.entry)
    gt_boxes = request.images.gt_of(request.entry).trainable.boxes
    matched = Matched(own.fg_anchors, own.matched_gt, own.max_iou, request.params.retinanet.fg_iou, "anchor")
    return [first, best_box_panel(request, pixels, gt_boxes, matched), *assignment_panels(request, own)]


def _assignment(request: PanelRequest) -> Assignment:
    """The stored assignment, extended to all anchors of the padded image; those in the padding are not background."""
    own, layout, anchors = DenseTargets(request.folder)[request.entry], request.layout, request.params.anchors
    size = request.images.pixels(request.entry).shape[:2]
    known = locations(layout, request.params)
    if own.grid != known.of(*size):
        raise InputError(f"{request.folder}: has other anchors than params.yaml; dvc repro {request.command.stage}")
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

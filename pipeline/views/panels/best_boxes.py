"""A panel of dense families with boxes of their own at each location, anchors or default boxes: the best of each gt
box.

Shapes: F fg locations; G gt boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.runtime.words import count_text
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import ORANGE, BoxLayer, calmed, draw_boxes
from pipeline.views.panels.gt import GT_COLOURS
from pipeline.views.panels.request import PanelRequest


@dataclass(frozen=True)
class Matched:
    """The boxes of F fg locations.

    Attributes:
        boxes: (F, 4). gt: (F,), which gt box each is to find. iou: (F,) with it.
        least: IoU from which a box is to find a gt box in any case. what: what one of them is called.
    """

    boxes: np.ndarray
    gt: np.ndarray
    iou: np.ndarray
    least: float
    what: str


def best_box_panel(request: PanelRequest, pixels: np.ndarray, gt_boxes: np.ndarray, own: Matched) -> Tile:
    """Each gt box, the box that suits it best of those that are to find it, and their IoU.

    Args:
        pixels: (H, W, 3) uint8 RGB. gt_boxes: (G, 4).
    """
    layers, best = [], []
    for gt, box in enumerate(gt_boxes):
        colour, of_gt = GT_COLOURS[gt % len(GT_COLOURS)], np.flatnonzero(own.gt == gt)
        text = f"{gt}: none"
        if len(of_gt):
            chosen = of_gt[own.iou[of_gt].argmax()]
            best.append(float(own.iou[chosen]))
            text = f"{gt}: IoU {best[-1]:.2f}"
            layers.append(BoxLayer(own.boxes[chosen : chosen + 1], colour, thickness=2))
        layers.append(BoxLayer(box[None], colour, [text], thickness=3, dash="dashed"))
    few, none = sum(iou < own.least for iou in best), len(gt_boxes) - len(best)
    caption = f"{request.name}: the best {own.what} of {count_text(len(gt_boxes), 'gt box', 'gt boxes')}"
    caption += f"; {few} below {own.least:g}, found since no other is better" if few else ""
    caption += f"; {none} without, as each of its candidates suits another box more" if none else ""
    canvas = draw_boxes(calmed(pixels), layers, request.side)
    keys = [Key(ORANGE, "gt box with its number and IoU", "dashed"), Key(ORANGE, f"its best {own.what}", "solid")]
    return Tile(canvas, caption, keys)

"""Panels of the proposals stages: the objectness map, and the best 10, 50 and 300 proposals by rank."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts.proposals import RankedProposals, StoredProposals
from pipeline.families.faster_rcnn.panels.objectness import objectness_panels
from pipeline.metrics.recall import RecallCounter
from pipeline.runtime.words import count_text
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import WHITE, BoxLayer, Colour, calmed, draw_boxes, spots_of
from pipeline.views.levels import pooled_from
from pipeline.views.marks import colour_ramp
from pipeline.views.panels.request import PanelRequest

BUDGETS = (10, 50, 300)

_STRONG = 10
_FAINT: Colour = (205, 205, 205)  # as white lines that let the photo through look in the legend
_DARKEST = 0.3  # of the ramp, which would vanish in a dim image


def proposal_panels(request: PanelRequest) -> list[Tile]:
    """Objectness, then the proposals of each budget with the gt boxes that they reach and do not reach; in brief those
    of the first budget."""
    pixels, gt = request.images.pixels(request.entry), request.images.gt_of(request.entry).trainable
    own = StoredProposals(request.folder)[request.entry]
    # One that takes in all of them is the last.
    budgets = [budget for last, budget in zip((0, *BUDGETS), BUDGETS, strict=False) if last < max(1, len(own))]
    return [
        *objectness_panels(request, pixels, gt.boxes),
        *(rank_panel(request, pixels, gt.boxes, own, budget) for budget in budgets[: 1 if request.brief else None]),
    ]


def rank_panel(
    request: PanelRequest, pixels: np.ndarray, gt_boxes: np.ndarray, own: RankedProposals, budget: int
) -> Tile:
    """The best proposals over the gt boxes, dashed where none reaches one: the first ten in strong lines with their
    ranks, brighter the better, the others faint."""
    shown, scores = own.boxes[:budget], own.scores[:budget]
    colours, strong = rank_colours(min(len(shown), _STRONG)), shown[:_STRONG]
    layers = [
        BoxLayer(shown[_STRONG:], WHITE, thickness=1, faint=True),
        *(BoxLayer(strong[i : i + 1], colours[i], [f"{i + 1}"]) for i in range(len(strong) - 1, -1, -1)),
    ]
    reached = np.array([_reaches(shown, box) for box in gt_boxes], dtype=bool)
    layers += [
        BoxLayer(gt_boxes[reached], WHITE, thickness=3),
        BoxLayer(gt_boxes[~reached], WHITE, thickness=3, dash="dashed"),
    ]
    span = f", score {scores[0]:.2f} to {scores[-1]:.2f}" if len(scores) else ""
    recall = (
        f"{reached.mean():.2f} ({int(reached.sum())} of {len(reached)})" if len(reached) else "undefined, no gt box"
    )
    caption = f"the best {len(shown)} of {count_text(len(own), 'proposal')}{span}; recall at IoU .5: {recall}"
    levels = pooled_from(shown, request.layout)
    caption += f"; pooled from {levels}" if levels else ""
    keys = (
        [Key(colours[0], "rank 1", "solid"), Key(colours[-1], f"rank {len(strong)}", "solid")]
        if len(strong) > 1
        else []
    )
    if len(shown) > len(strong):
        keys.append(Key(_FAINT, f"ranks {len(strong) + 1} to {len(shown)}", "solid"))
    keys += [Key(WHITE, "gt box reached", "solid"), Key(WHITE, "not reached", "dashed")] if len(gt_boxes) else []
    spots = spots_of(shown, [f"rank {place}, score {score:.3f}" for place, score in enumerate(scores, 1)], pixels)
    return Tile(draw_boxes(calmed(pixels), layers, request.side), caption, keys, spots=spots)


def rank_colours(count: int) -> list[Colour]:
    """One colour per rank, the brightest first."""
    shades = np.linspace(1, _DARKEST if count > 1 else 1, count)
    return [(int(r), int(g), int(b)) for r, g, b in colour_ramp(shades)]


def _reaches(boxes: np.ndarray, gt_box: np.ndarray) -> bool:
    counter = RecallCounter([max(1, len(boxes))])
    counter.add(boxes, gt_box[None])
    return counter.recall(max(1, len(boxes)), 0.5) == 1

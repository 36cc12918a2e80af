"""Panels of detections by kind of error beside the gt, which all stages that detect or evaluate have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.runtime.words import count_text
from pipeline.views.class_boxes import class_name
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import (
    GREEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILLION,
    WHITE,
    YELLOW,
    BoxLayer,
    Colour,
    Dash,
    dimmed,
    draw_boxes,
)
from pipeline.views.panels.judged import Judged, judged_detections
from pipeline.views.panels.request import PanelRequest

KIND_STYLES: dict[str, tuple[Colour, Dash, str]] = {
    "correct": (GREEN, "solid", "correct"),
    "duplicate": (SKY_BLUE, "dashed", "duplicate: its gt box is found already"),
    "wrong_class": (PURPLE, "dashed", "wrong class"),
    "badly_placed": (ORANGE, "dotted", "badly placed: IoU .1 to .5"),
    "background": (VERMILLION, "solid", "background"),
    "ignored": (WHITE, "dotted", "ignored: counts for nothing"),
    "missed": (YELLOW, "dashed", "missed gt box"),
}
"""Colour, line and legend of each kind of detection, and of a missed gt box; the tags repeat it."""


def evaluate_panels(request: PanelRequest) -> list[Tile]:
    """The gt, and the detections by kind."""
    return error_panels(request, request.images.pixels(request.entry), judged_detections(request))


def error_panels(request: PanelRequest, pixels: np.ndarray, judged: Judged) -> list[Tile]:
    """The gt boxes, those that are missed in a colour of their own, and beside them the detections by kind."""
    names = request.images.class_names()
    return [
        _gt_panel(request, pixels, judged, names),
        _kinds_panel(request, pixels, judged, names),
    ]


def _gt_panel(request: PanelRequest, pixels: np.ndarray, judged: Judged, names: Sequence[str]) -> Tile:
    missed, gt = judged.missed(request.score), judged.gt
    layers, keys = [], []
    states = [("found", GREEN, "solid", ~missed & ~gt.ignored), ("missed", YELLOW, "dashed", missed)]
    for name, colour, dash, own in [*states, ("ignored", WHITE, "dotted", gt.ignored)]:
        if own.any():
            suffix = f" {name}" if name != "found" else ""
            texts = [class_name(names, int(label)) + suffix for label in gt.labels[own]]
            layers.append(BoxLayer(gt.boxes[own], colour, texts, dash=dash))  # type: ignore[arg-type]
            keys.append(Key(colour, f"gt box {name}", dash))  # type: ignore[arg-type]
    split = request.images.row(request.entry.image_id)["split"]
    caption = f"{request.name}, {split}: {count_text(len(gt), 'gt box', 'gt boxes')}, {int(missed.sum())} missed"
    return Tile(draw_boxes(dimmed(pixels), layers, request.side), f"{caption} at score {request.score:g}", keys)


def _kinds_panel(request: PanelRequest, pixels: np.ndarray, judged: Judged, names: Sequence[str]) -> Tile:
    shown = np.flatnonzero(judged.score >= request.score)
    layers: list[BoxLayer] = []
    keys, counts = [], []
    for kind, (colour, dash, text) in KIND_STYLES.items():
        own = shown[judged.kind[shown] == kind]
        boxes, texts = judged.boxes[own], [_tag(judged, int(i), names) for i in own]
        if kind == "missed":
            missed = judged.missed(request.score)
            boxes = judged.gt.boxes[missed]
            texts = []  # the panel of the gt has them
        if len(boxes):
            # Missed gt boxes lie below all, errors over what is correct, and the best score of a kind on top.
            layers.insert(0 if kind == "missed" else len(layers), BoxLayer(boxes[::-1], colour, texts[::-1], dash=dash))
            keys.append(Key(colour, text, dash))
            counts.append(f"{len(boxes)} {kind.replace('_', ' ')}")
    caption = f"{len(shown)} of {count_text(len(judged.score), 'detection')}, score at least {request.score:g}: "
    caption += (", ".join(counts) or "none") + f" ({judged.source})"
    return Tile(draw_boxes(dimmed(pixels), layers, request.side), caption, keys)


def _tag(judged: Judged, row: int, names: Sequence[str]) -> str:
    """The class and score, and what is wrong."""
    kind, gt = str(judged.kind[row]), int(judged.gt_index[row])
    note = {
        "duplicate": " duplicate",
        "wrong_class": f" is {class_name(names, int(judged.gt.labels[gt]))}" if kind == "wrong_class" else "",
        "badly_placed": f" IoU {judged.iou[row]:.2f}",
        "background": " background",
        "ignored": " ignored",
    }.get(kind, "")
    return f"{class_name(names, int(judged.label[row]))} {judged.score[row]:.2f}{note}"

"""Panels of detections by kind of error beside the gt, which all stages that detect or evaluate have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.runtime.words import count_text
from pipeline.views.class_boxes import class_name
from pipeline.views.colours import KINDS
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import BoxLayer, Dash, calmed, draw_boxes, spots_of
from pipeline.views.panels.judged import Judged, judged_detections
from pipeline.views.panels.request import PanelRequest

_KINDS: dict[str, tuple[Dash, str]] = {
    "correct": ("solid", "correct"),
    "duplicate": ("dashed", "duplicate: its gt box is found already"),
    "wrong_class": ("dashed", "wrong class"),
    "badly_placed": ("dotted", "badly placed: IoU .1 to .5"),
    "background": ("solid", "background"),
    "ignored": ("dotted", "ignored: counts for nothing"),
    "missed": ("dashed", "missed gt box"),
}
"""Line and legend of each kind of detection, and of a missed gt box; the tags repeat it."""


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
    states = [("found", "correct", "solid", ~missed & ~gt.ignored), ("missed", "missed", "dashed", missed)]
    for name, kind, dash, own in [*states, ("ignored", "ignored", "dotted", gt.ignored)]:
        colour = KINDS[kind]
        if own.any():
            suffix = f" {name}" if name != "found" else ""
            texts = [class_name(names, int(label)) + suffix for label in gt.labels[own]]
            layers.append(BoxLayer(gt.boxes[own], colour, texts, dash=dash))  # type: ignore[arg-type]
            keys.append(Key(colour, f"gt box {name}", dash))  # type: ignore[arg-type]
    split = request.images.row(request.entry.image_id)["split"]
    spots = spots_of(gt.boxes, [class_name(names, int(label)) for label in gt.labels], pixels)
    caption = f"{request.name}, {split}: {count_text(len(gt), 'gt box', 'gt boxes')}, {int(missed.sum())} missed"
    canvas = draw_boxes(calmed(pixels), layers, request.side)
    return Tile(canvas, f"{caption} at score {request.score:g}", keys, spots=spots)


def _kinds_panel(request: PanelRequest, pixels: np.ndarray, judged: Judged, names: Sequence[str]) -> Tile:
    shown = np.flatnonzero(judged.score >= request.score)
    layers: list[BoxLayer] = []
    keys, counts = [], []
    for kind, (dash, text) in _KINDS.items():
        colour = KINDS[kind]
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
    spots = spots_of(judged.boxes[shown], [_details(judged, int(row), names) for row in shown], pixels)
    return Tile(draw_boxes(calmed(pixels), layers, request.side), caption, keys, spots=spots)


def _details(judged: Judged, row: int, names: Sequence[str]) -> str:
    """What the pointer shows of a detection."""
    gt, text = int(judged.gt_index[row]), f"{class_name(names, int(judged.label[row]))}, score {judged.score[row]:.3f}"
    kind = _KINDS[str(judged.kind[row])][1]
    own = f", IoU {judged.iou[row]:.2f} with {class_name(names, int(judged.gt.labels[gt]))}" if gt >= 0 else ""
    return f"{text}: {kind}{own}"


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

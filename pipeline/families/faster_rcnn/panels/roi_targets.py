"""Panels of the proposal_targets stages: fg RoIs with where their deltas take them, bg RoIs, pooled features."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.artifacts.proposal_targets import ProposalAssignment, ProposalTargets, read_normalisation
from pipeline.geometry.pooling import pool_rois, roi_levels
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.views.contact_sheet import GAP, Key, Tile
from pipeline.views.drawing import (
    GREEN,
    ORANGE,
    SKY_BLUE,
    VERMILLION,
    WHITE,
    BoxLayer,
    calmed,
    draw_boxes,
    enlarged,
)
from pipeline.views.levels import pooled_from
from pipeline.views.marks import draw_arrows, heat_map, zoom_of
from pipeline.views.panels.maps import stored_maps
from pipeline.views.panels.request import PanelRequest
from pipeline.views.stored_anchors import decode_targets

_SHOWN_FG = 12
_SHOWN_BG = 20
_SHOWN_POOLED = 3
_SHOWN_CHANNELS = 6
_GAP = 6


def target_panels(request: PanelRequest) -> list[Tile]:
    """fg RoIs with arrows and targets; bg RoIs; in step 4, unless in brief, the pooled features of a few fg RoIs."""
    pixels, gt = request.images.pixels(request.entry), request.images.gt_of(request.entry).trainable
    own = ProposalTargets(request.folder)[request.entry]
    proposed = own.ranks >= 0  # an appended gt box is its own target
    fg = np.flatnonzero(proposed & (own.labels > 0))
    shown = _of_each_gt(fg, own.matched_gt, own.max_iou)
    boxes, targets = own.boxes, np.zeros((0, 4), np.float32)
    if len(shown):
        targets = decode_targets(_raw_deltas(request, own)[shown], boxes[shown])
    counts = {kind: int((proposed & (sign(own.labels) == kind)).sum()) for kind in (1, 0, -1)}
    appended = int((~proposed).sum())
    caption = (
        f"{request.name}: {len(shown)} of {counts[1]} fg RoIs with their deltas; {counts[0]} bg, {counts[-1]} ignored, "
        f"{count_text(appended, 'appended gt box', 'appended gt boxes')}"
    )
    levels = pooled_from(boxes[fg], request.layout)
    caption += f"; fg RoIs are pooled from {levels}" if levels else ""
    return [
        _fg_panel(request, pixels, gt.boxes, boxes[shown], targets, caption),
        _bg_panel(request, pixels, gt.boxes, own),
        *([] if request.brief else _pooled_panels(request, pixels, boxes, shown)),
    ]


def sign(labels: np.ndarray) -> np.ndarray:
    """1 fg, 0 bg, -1 ignored."""
    return np.sign(labels).astype(int)


def _of_each_gt(rows: np.ndarray, matched_gt: np.ndarray, max_iou: np.ndarray) -> np.ndarray:
    """Some of the rows: as many of each gt box, evenly spread from its least IoU to its largest."""
    owners = np.unique(matched_gt[rows])
    each = max(1, _SHOWN_FG // max(1, len(owners)))
    chosen = [np.zeros(0, np.int64)]
    for owner in owners:
        own = rows[matched_gt[rows] == owner]
        own = own[np.argsort(max_iou[own], kind="stable")]
        chosen.append(own[np.unique(np.linspace(0, len(own) - 1, each).round().astype(int))])
    return np.concatenate(chosen)


def _raw_deltas(request: PanelRequest, own: ProposalAssignment) -> np.ndarray:
    """(N, 4) deltas without their normalisation."""
    content, classes = read_normalisation(request.folder), own.labels.astype(int).clip(0)
    if np.max(classes, initial=0) >= len(content.mean):
        raise InputError(f"{request.folder}: labels are beyond its classes; dvc repro {request.folder.name}")
    raw: np.ndarray = own.deltas * content.std[classes] + content.mean[classes]
    return raw


def _fg_panel(
    request: PanelRequest, pixels: np.ndarray, gt_boxes: np.ndarray, rois: np.ndarray, targets: np.ndarray, caption: str
) -> Tile:
    """(N, 4) RoIs, an arrow from the centre of each to that of its target, and the (N, 4) targets, dashed."""
    layers = [
        BoxLayer(gt_boxes, WHITE, thickness=4),
        BoxLayer(rois, ORANGE, thickness=1),
        BoxLayer(targets, SKY_BLUE, thickness=2, dash="dashed"),
    ]
    canvas = draw_boxes(calmed(pixels), layers, request.side)
    zoom = zoom_of(canvas, pixels)
    draw_arrows(canvas, _centres(rois) * zoom, _centres(targets) * zoom, VERMILLION)
    keys = [
        Key(ORANGE, "RoI", "solid"),
        Key(VERMILLION, "where its deltas take its centre", "arrow"),
        Key(SKY_BLUE, "where they take the box", "dashed"),
        Key(WHITE, "gt box", "solid"),
    ]
    return Tile(canvas, caption, keys)


def _centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _bg_panel(request: PanelRequest, pixels: np.ndarray, gt_boxes: np.ndarray, assigned: ProposalAssignment) -> Tile:
    """The bg RoIs of the largest IoU, which are the hardest, and of ignored ones as many."""
    layers, counts = [BoxLayer(gt_boxes, WHITE, thickness=4)], []
    for kind, name, colour, dash in ((-1, "ignored", GREEN, "dotted"), (0, "bg", ORANGE, "solid")):
        own = np.flatnonzero((assigned.ranks >= 0) & (sign(assigned.labels) == kind))
        own = own[np.argsort(-assigned.max_iou[own], kind="stable")][:_SHOWN_BG]
        layers.append(BoxLayer(assigned.boxes[own], colour, thickness=1 if kind == 0 else 2, dash=dash))  # type: ignore[arg-type]
        iou = f", IoU {assigned.max_iou[own].min():.2f} to {assigned.max_iou[own].max():.2f}" if len(own) else ""
        counts.append(f"{len(own)} {name} RoIs{iou}")
    keys = [Key(ORANGE, "bg RoI", "solid"), Key(GREEN, "ignored RoI", "dotted"), Key(WHITE, "gt box", "solid")]
    return Tile(
        draw_boxes(calmed(pixels), layers, request.side), f"nearest to a gt box: {counts[1]}; {counts[0]}", keys
    )


def _pooled_panels(request: PanelRequest, pixels: np.ndarray, boxes: np.ndarray, shown: np.ndarray) -> list[Tile]:
    """The pooled features of the image's RoIs, if a head reads them from cached maps."""
    reader = request.graph.reader_of("train_head", "proposal_targets", request.command.out)
    maps = reader.options.get("features") if reader else None
    own_maps = stored_maps(request.root / maps, request.entry) if maps is not None else []
    if not own_maps or not len(shown):
        return []
    head = request.params.roi_head
    few = shown[np.unique(np.linspace(0, len(shown) - 1, _SHOWN_POOLED).round().astype(int))]
    pooled = pool_rois(own_maps, boxes[few], request.layout, head.pooling)
    name = head.pool.replace("roi_pool", "RoIPool").replace("roi_align", "RoIAlign")
    strip = np.concatenate(
        [_pooled_row(pixels, box, own, 2 * request.side + GAP) for box, own in zip(boxes[few], pooled, strict=True)]
    )
    side, layout = head.output_size, request.layout.pooled
    of_levels = [f"level {own} (stride {layout.strides[own]})" for own in roi_levels(boxes[few], layout.strides)]
    taken = f" from {', '.join(of_levels)}" if len(layout.levels) > 1 else ""
    depth = pooled.shape[1]
    caption = f"{name} of {len(few)} fg RoIs{taken}, {side} x {side} of {depth} channels; beside each RoI the "
    return [Tile(strip, f"{caption}{_SHOWN_CHANNELS} channels with the largest mean, one scale a RoI", wide=True)]


def _pooled_row(pixels: np.ndarray, box: np.ndarray, pooled: np.ndarray, width: int) -> np.ndarray:
    """The crop of a RoI and its strongest channels, as squares side by side in `width` px."""
    count = _SHOWN_CHANNELS + 1
    wide = (width - _GAP * (count - 1)) // count
    x1, y1 = np.clip(np.floor(box[:2]), 0, [pixels.shape[1] - 1, pixels.shape[0] - 1]).astype(int)
    x2, y2 = np.maximum(np.ceil(box[2:]).astype(int), [x1 + 1, y1 + 1])
    crop, _ = enlarged(pixels[y1:y2, x1:x2], wide)
    square = np.full((wide, wide, 3), 255, np.uint8)
    square[: crop.shape[0], : crop.shape[1]] = crop
    strongest = np.argsort(-pooled.mean(axis=(1, 2)), kind="stable")[:_SHOWN_CHANNELS]
    high = float(pooled[strongest].max())
    cells = [square, *(heat_map(pooled[channel], (wide, wide), 0.0, high) for channel in strongest)]
    gap = np.full((wide, _GAP, 3), 255, np.uint8)
    row = np.concatenate([part for cell in cells for part in (cell, gap)][:-1], axis=1)
    below = np.full((_GAP, row.shape[1], 3), 255, np.uint8)
    return cv2.vconcat([row, below])

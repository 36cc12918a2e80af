"""Panels of the anchor_targets stage: where anchors lie, which of them are fg and of which gt box, ignored or bg."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry.anchors import Floats, grid_anchors, grid_centres, grid_shapes, level_shapes, level_steps
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
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
    calmed,
    draw_boxes,
    enlarged,
)
from pipeline.views.marks import draw_dots, heat_over, padded, ramp_keys, zoom_of
from pipeline.views.panels.gt import GT_COLOURS
from pipeline.views.panels.request import PanelRequest
from pipeline.views.stored_anchors import Assignment, assignment_of

_RATIO_COLOURS: tuple[Colour, ...] = (ORANGE, SKY_BLUE, YELLOW, PURPLE, GREEN, VERMILLION)
_DASHES: tuple[Dash, ...] = ("solid", "dashed", "dotted")
_MARGIN = 4  # px around the anchors of a location


@dataclass(frozen=True)
class _Level:
    """One level's anchors: `prefix` of captions; `steps`, px from one location to the next, x, y; `size`, Fh, Fw;
    `centres` (Fh * Fw, 2), `shapes` (A, 2); and `labels` (Fh * Fw, A) int8: 1 fg, 0 bg, -1 ignored."""

    prefix: str
    steps: tuple[int, int]
    size: tuple[int, int]
    centres: Floats
    shapes: Floats
    labels: np.ndarray


def anchor_panels(request: PanelRequest) -> list[Tile]:
    """Centres; the anchors of one location; fg anchors with their gt boxes, and which level took which; fg, ignored and
    bg of each location. In brief the fg anchors."""
    gt = request.images.gt_of(request.entry).trainable
    own = assignment_of(request.folder, request.entry, gt.boxes)
    if request.brief:
        return [_fg_panel(request, request.images.pixels(request.entry), own, gt.boxes)]
    return assignment_panels(request, own)


def assignment_panels(request: PanelRequest, own: Assignment, counts: bool = True) -> list[Tile]:
    """The same of an assignment that comes from elsewhere; with or without how many of each kind a location has."""
    pixels, gt = request.images.pixels(request.entry), request.images.gt_of(request.entry).trainable
    levels = _levels(request, own, pixels.shape[:2])
    tiles = []
    for level in levels:
        place = _shown_location(gt.boxes, level.centres, pixels)
        tiles += [
            _centres_panel(request, pixels, level, place),
            _location_panel(request, pixels, level, place),
        ]
    kinds = (1, -1, 0) if counts else ()
    return [
        *tiles,
        _fg_panel(request, pixels, own, gt.boxes),
        *(_count_panel(request, pixels, own, kind) for own in levels for kind in kinds if _tells(own, kind, levels)),
    ]


def _tells(level: _Level, kind: int, levels: list[_Level]) -> bool:
    """Whether how many anchors are of a kind is worth a panel: of several levels, most have nothing but bg."""
    return len(levels) == 1 or not np.isin(level.labels == kind, kind == 0).all()


def _levels(request: PanelRequest, own: Assignment, size: tuple[int, ...]) -> list[_Level]:
    """The anchors of an image of (H, W), level by level."""
    layout, placement = request.layout, request.params.anchors.placement
    sizes, grids = layout.sizes(*size), _grids(request, size)
    labels = np.where(own.is_bg, 0, -1).astype(np.int8)
    checked_anchors(request, own, size)
    labels[own.fg] = 1
    ends = np.cumsum([len(centres) * len(shapes) for centres, shapes in grids])
    split = np.split(labels, ends[:-1])
    down, right = zip(*sizes, strict=True)
    return [
        _Level(
            layout.prefix(index),
            (level_steps(layout, right, index, placement), level_steps(layout, down, index, placement)),
            sizes[index],
            centres,
            shapes,
            split[index].reshape(len(centres), len(shapes)),
        )
        for index, (centres, shapes) in enumerate(grids)
    ]


def checked_anchors(request: PanelRequest, own: Assignment, size: tuple[int, ...]) -> Floats:
    """(K, 4) all anchors of an image of (H, W), level after level, px of the resized image.

    Raises:
        InputError: the stored anchors are not those of params.yaml.
    """
    anchors = np.concatenate([grid_anchors(*grid) for grid in _grids(request, size)])
    fits = len(own.is_bg) == len(anchors)
    if fits and len(own.fg):
        fits = bool(np.abs(anchors[own.fg] - own.fg_anchors).max() < 0.05)
    if not fits:
        raise InputError(f"{request.folder}: has other anchors than params.yaml; dvc repro {request.command.stage}")
    return anchors


def _grids(request: PanelRequest, size: tuple[int, ...]) -> list[tuple[Floats, Floats]]:
    """The (Fh * Fw, 2) centres and (A, 2) shapes of each level of an image of (H, W)."""
    layout, anchors = request.layout, request.params.anchors
    shapes, sizes = grid_shapes(anchors.base_size, anchors.ratios, anchors.scales), layout.sizes(*size)
    return [
        (
            grid_centres(sizes, level, layout, anchors.placement),
            level_shapes(shapes, layout.scales[level], anchors.placement, anchors.whole_sizes),
        )
        for level in range(len(sizes))
    ]


def _shown_location(gt_boxes: np.ndarray, centres: Floats, pixels: np.ndarray) -> int:
    """The location nearest to the centre of the largest gt box, or of the image where it has none."""
    target = np.array([pixels.shape[1], pixels.shape[0]]) / 2
    if len(gt_boxes):
        largest = gt_boxes[np.argmax((gt_boxes[:, 2:] - gt_boxes[:, :2]).prod(axis=1))]
        target = (largest[:2] + largest[2:]) / 2
    return int(np.argmin(((centres - target) ** 2).sum(axis=1)))


def _centres_panel(request: PanelRequest, pixels: np.ndarray, level: _Level, place: int) -> Tile:
    canvas, _ = enlarged(calmed(pixels), request.side)
    zoom = zoom_of(canvas, pixels)
    draw_dots(canvas, level.centres * zoom, SKY_BLUE, 2 if level.steps[0] * zoom[0] >= 12 else 1)
    draw_dots(canvas, level.centres[place : place + 1] * zoom, VERMILLION, 6)
    height, width = level.size
    apart = " x ".join(map(str, dict.fromkeys(level.steps)))
    where = f"{width} x {height} locations, {apart} px apart"
    caption = f"{request.name}: {level.prefix}{where}; {level.labels.size:,} anchors"
    return Tile(canvas, caption, [Key(SKY_BLUE, "centres", "dot"), Key(VERMILLION, "shown beside", "dot")])


def _location_panel(request: PanelRequest, pixels: np.ndarray, level: _Level, place: int) -> Tile:
    """All anchors of a location, the image padded so that those which stick out are seen whole."""
    ratios = request.params.anchors.ratios
    centre, shapes, labels = level.centres[place], level.shapes, level.labels[place]
    anchors = grid_anchors(centre[None], shapes)
    height, width = pixels.shape[:2]
    low = np.maximum(np.ceil(-anchors[:, :2].min(axis=0)), 0).astype(int) + _MARGIN
    high = np.maximum(np.ceil(anchors[:, 2:].max(axis=0) - [width, height]), 0).astype(int) + _MARGIN
    wide = padded(calmed(pixels), int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    move = np.concatenate([low, low]).astype(np.float32)
    scales = len(shapes) // len(ratios)
    layers = [BoxLayer(np.array([[0, 0, width, height]]) + move, WHITE, thickness=1)]
    keys = []
    for index, ratio in enumerate(ratios):
        colour, dash = _RATIO_COLOURS[index % len(_RATIO_COLOURS)], _DASHES[index % len(_DASHES)]
        layers.append(BoxLayer(anchors[index * scales : (index + 1) * scales] + move, colour, dash=dash))
        keys.append(Key(colour, f"height / width {ratio:g}", dash))
    canvas = draw_boxes(wide, layers, request.side)
    draw_dots(canvas, (centre + low)[None] * zoom_of(canvas, wide), VERMILLION, 6)
    out = _sticks_out(anchors, pixels)
    counts = f"{int((labels == 1).sum())} fg, {int((labels == -1).sum())} ignored, {int((labels == 0).sum())} bg"
    where = f"{level.prefix}the {len(anchors)} anchors of location ({centre[0]:g}, {centre[1]:g})"
    caption = f"{where}: {counts}; {out_text(int(out.sum()))}"
    return Tile(canvas, caption, [*keys, Key(WHITE, "border of the image", "solid")])


def _sticks_out(anchors: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """(K,) bool: whether each of (K, 4) anchors sticks out of the image."""
    height, width = pixels.shape[:2]
    return np.asarray((anchors[:, :2] < 0).any(axis=1) | (anchors[:, 2:] > [width, height]).any(axis=1))


def out_text(count: int) -> str:
    """How many anchors stick out of the image, in words."""
    return f"{count} sticks out" if count == 1 else f"{count:,} stick out"


def _fg_panel(request: PanelRequest, pixels: np.ndarray, own: Assignment, gt_boxes: np.ndarray) -> Tile:
    """fg anchors in the colour of their gt box, which a number names."""
    layers, levels = [], _levels_of_fg(request, own, pixels.shape[:2])
    for index in range(len(gt_boxes)):
        colour = GT_COLOURS[index % len(GT_COLOURS)]
        layers.append(BoxLayer(own.fg_anchors[own.matched_gt == index], colour, thickness=1))
    for index in range(len(gt_boxes)):
        colour = GT_COLOURS[index % len(GT_COLOURS)]
        is_its = own.matched_gt == index
        text = f"{index}: {int(is_its.sum())}"
        if len(request.layout.levels) > 1 and is_its.any():
            text += f", level {' '.join(map(str, np.unique(levels[is_its])))}"
        layers.append(BoxLayer(gt_boxes[index : index + 1], colour, [text], thickness=3, dash="dashed"))
    iou = f", IoU {own.max_iou.min():.2f} to {own.max_iou.max():.2f}" if len(own.fg) else ""
    counts = f"{count_text(len(own.fg), 'fg anchor')} of {count_text(len(gt_boxes), 'gt box', 'gt boxes')}{iou}"
    caption = f"{request.name}: {counts}; {int(own.is_bg.sum()):,} bg of {len(own.is_bg):,} anchors"
    caption += _by_level(request, levels, own.matched_gt)
    keys = [Key(ORANGE, "gt box with its number: fg anchors", "dashed"), Key(ORANGE, "its fg anchors", "solid")]
    return Tile(draw_boxes(calmed(pixels), layers, request.side), caption, keys)


def _levels_of_fg(request: PanelRequest, own: Assignment, size: tuple[int, ...]) -> np.ndarray:
    """(F,) the level that each fg anchor lies on, of an image of (H, W)."""
    anchors = request.params.anchors
    per_location = len(anchors.ratios) * len(anchors.scales)
    ends = np.cumsum([height * width * per_location for height, width in request.layout.sizes(*size)])
    levels: np.ndarray = np.searchsorted(ends[:-1], own.fg, side="right")
    return levels


def _by_level(request: PanelRequest, levels: np.ndarray, matched_gt: np.ndarray) -> str:
    """Which levels have fg anchors, and of which gt boxes; nothing where there is one level."""
    if len(request.layout.levels) == 1:
        return ""
    parts = []
    for level in np.unique(levels):
        own = levels == level
        boxes = ", ".join(map(str, np.unique(matched_gt[own])))
        parts.append(f"; {request.layout.prefix(int(level))}{count_text(int(own.sum()), 'fg anchor')} of gt {boxes}")
    return "".join(parts)


def _count_panel(request: PanelRequest, pixels: np.ndarray, level: _Level, kind: int) -> Tile:
    """How many of each location's anchors are of a kind."""
    labels = level.labels
    counts = (labels == kind).sum(axis=1)
    most = max(1, int(counts.max())) if kind == 1 else labels.shape[1]
    name = {1: "fg", -1: "ignored", 0: "bg"}[kind]
    places = f"{int((counts > 0).sum()):,} of {len(counts):,} locations have one"
    image = heat_over(pixels, counts.reshape(level.size), request.side, 0, most)
    out = ""
    if kind == -1:
        ignored = grid_anchors(level.centres, level.shapes)[labels.reshape(-1) == kind]
        out = f" ({out_text(int(_sticks_out(ignored, pixels).sum()))})"
    caption = f"{level.prefix}{name}: {int(counts.sum()):,} anchors{out}, {places}"
    steps = [0, most] if most == 1 else [0, most // 2, most]
    keys = ramp_keys(
        np.array(steps) / most, [*map(str, steps[:-1]), f"{most} of a location's {labels.shape[1]} anchors"]
    )
    return Tile(image, caption, keys)

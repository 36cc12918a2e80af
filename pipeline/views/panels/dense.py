"""Panels of the stages that dense families share: which locations are to find which gt box, where the detector sees
objects, and what it detects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.artifacts.dense_targets import DenseTargets, StoredAssignment
from pipeline.artifacts.image_views import DRAWN, Entry
from pipeline.geometry.points import Grid
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import ORANGE, WHITE, BoxLayer, Colour, calmed, draw_boxes, enlarged
from pipeline.views.levels import head_layout
from pipeline.views.marks import draw_dots, zoom_of
from pipeline.views.panels.detections import error_panels
from pipeline.views.panels.drawn import drawn_view
from pipeline.views.panels.gt import GT_COLOURS
from pipeline.views.panels.judged import judged_detections
from pipeline.views.panels.maps import location_map_panels, location_maps
from pipeline.views.panels.request import PanelRequest


@dataclass(frozen=True)
class TargetWords:
    """A family's words for its targets.

    Attributes:
        quality: what the quality of an fg location measures.
        of_level: what the caption of a level adds, of the request and the level.
        points: where locations lie, (N, 2) x, y, px, of the request, the grid and the image's (H, W); None: on the
            centres of cells.
    """

    quality: str = "quality"
    of_level: Callable[[PanelRequest, int], str] = lambda request, level: ""
    points: Callable[[PanelRequest, Grid, tuple[int, int]], npt.NDArray[np.float64]] | None = None


_MATCHED_COLOURS = GT_COLOURS[:-1]  # white is for what is ignored
_DOT = 0.3  # of the distance between locations
_SMALLEST, _LARGEST = 2, 9  # px, radius of a dot
_PLAIN = TargetWords()


def dense_target_panels(request: PanelRequest, words: TargetWords = _PLAIN) -> list[Tile]:
    """The gt boxes with how many locations are to find each; then, of each level that has any, its locations with a
    class in the colour of their gt box, and the ignored ones. Where training draws its images, the plain image is
    followed by the first of these panels of what the first epoch draws of it. In brief the first, with the locations of
    all levels."""
    targets = DenseTargets(request.folder)
    gt_panel, own, pixels, gt_boxes = _seen(request, targets, words)
    if request.brief:
        return [gt_panel]
    levels = (level for level in range(len(own.grid.strides)) if _any(own, level))
    tiles = [gt_panel, *(_level_panel(request, pixels, own, gt_boxes, level, words) for level in levels)]
    drawn = replace(request, entry=Entry(request.entry.image_id, DRAWN))
    return [*tiles, _seen(drawn, targets, words)[0]] if request.entry.view == 0 and drawn.entry in targets else tiles


def _seen(
    request: PanelRequest, targets: DenseTargets, words: TargetWords
) -> tuple[Tile, StoredAssignment, np.ndarray, np.ndarray]:
    """The panel of the gt boxes of an entry, its assignment, its pixels and its gt boxes."""
    if request.entry not in targets:
        raise _of_other_images(request)
    own, note = targets[request.entry], ""
    if request.entry.drawn:
        pixels, boxes, note = drawn_view(request)
    else:
        pixels, boxes = request.images.pixels(request.entry), request.images.gt_of(request.entry).trainable.boxes
    if np.max(own.matched_gt, initial=-1) >= len(boxes):
        raise _of_other_images(request)
    return _gt_panel(request, pixels, own, boxes, note, words), own, pixels, boxes


def detect_dense_panels(request: PanelRequest) -> list[Tile]:
    """The best class score of each cell of each level, the gt, and the detections by kind; in brief the last two."""
    pixels, judged = request.images.pixels(request.entry), judged_detections(request)
    if request.brief:
        return error_panels(request, pixels, judged)
    found = location_maps(request.folder, request.entry)
    if found is None:
        raise InputError(f"{request.folder}: has no map of {request.entry.name}; dvc repro {request.command.stage}")
    layout, boxes = head_layout(request.params), judged.gt.trainable.boxes
    maps = location_map_panels(request, pixels, boxes, found, "the best class score", layout)
    return [*maps, *error_panels(request, pixels, judged)]


def _of_other_images(request: PanelRequest) -> InputError:
    stage = request.command.stage
    return InputError(
        f"{request.folder}: has other images than the resize stage ({request.entry.image_id}); dvc repro {stage}"
    )


def _any(own: StoredAssignment, level: int) -> bool:
    """Whether the level has a location with a class, or an ignored one."""
    return bool((own.grid.split(own.dense_labels)[level] != 0).any())


def _gt_panel(
    request: PanelRequest,
    pixels: np.ndarray,
    own: StoredAssignment,
    gt_boxes: np.ndarray,
    note: str,
    words: TargetWords,
) -> Tile:
    levels = own.grid.levels()
    canvas = _drawn(request, pixels, own, gt_boxes, np.arange(len(own.grid)), words, ignored=False)
    per_level = [int((levels[own.fg] == level).sum()) for level in range(len(own.grid.strides))]
    split = f" ({', '.join(f'{count:,} on level {level}' for level, count in enumerate(per_level) if count)})"
    quality = f", {words.quality} {own.quality.min():.2f} to {own.quality.max():.2f}" if len(own.fg) else ""
    found = f"{count_text(len(own.fg), 'fg location')}{split if len(per_level) > 1 and len(own.fg) else ''}"
    counts = f"{found} of {count_text(len(gt_boxes), 'gt box', 'gt boxes')}{quality}"
    others = f"{int(own.ignored.sum()):,} ignored and {int((own.dense_labels == 0).sum()):,} bg of {len(own.grid):,}"
    return Tile(canvas, f"{request.name}: {note}{counts}; {others}", _keys(ignored=False))


def _level_panel(
    request: PanelRequest,
    pixels: np.ndarray,
    own: StoredAssignment,
    gt_boxes: np.ndarray,
    level: int,
    words: TargetWords,
) -> Tile:
    grid = own.grid
    shown = np.flatnonzero(grid.levels() == level)
    ignored = own.ignored[shown]
    canvas = _drawn(request, pixels, own, gt_boxes, shown, words, ignored=True)
    fg = np.isin(own.fg, shown)
    height, width = grid.cells[level]
    each = f", {grid.per_cell[level]} predictions each" if grid.per_cell[level] > 1 else ""
    boxes = count_text(len(np.unique(own.matched_gt[fg])), "gt box", "gt boxes")
    caption = (
        f"level {level}, stride {grid.strides[level]}{words.of_level(request, level)}: "
        f"{int(fg.sum()):,} fg locations of {boxes}, {int(ignored.sum()):,} ignored of {width} x {height} cells{each}"
    )
    return Tile(canvas, caption, _keys(ignored=bool(ignored.any())))


def _drawn(
    request: PanelRequest,
    pixels: np.ndarray,
    own: StoredAssignment,
    gt_boxes: np.ndarray,
    shown: np.ndarray,
    words: TargetWords,
    *,
    ignored: bool,
) -> np.ndarray:
    """The image with the gt boxes, numbered, and the locations of `shown`, indices, that are fg or ignored."""
    fg = np.isin(own.fg, shown)
    boxes = []
    for index in range(len(gt_boxes)):
        text = f"{index}: {int((own.matched_gt[fg] == index).sum())}"
        boxes.append(BoxLayer(gt_boxes[index : index + 1], _colour(index), [text], thickness=3, dash="dashed"))
    canvas, _ = enlarged(draw_boxes(calmed(pixels), boxes, request.side), request.side)
    size = (pixels.shape[0], pixels.shape[1])
    centres = own.grid.centres() if words.points is None else words.points(request, own.grid, size)
    zoom, levels = zoom_of(canvas, pixels), own.grid.levels()
    for level, stride in reversed(list(enumerate(own.grid.strides))):  # the finest level on top
        radius = _radius(float(stride * zoom[0]))
        if ignored:
            hidden = shown[own.ignored[shown] & (levels[shown] == level)]
            draw_dots(canvas, np.unique(centres[hidden], axis=0) * zoom, WHITE, radius // 2 + 1)
        for index in range(len(gt_boxes)):
            matched = own.fg[fg & (own.matched_gt == index) & (levels[own.fg] == level)]
            draw_dots(canvas, np.unique(centres[matched], axis=0) * zoom, _colour(index), radius)
    return canvas


def _radius(distance: float) -> int:
    return int(np.clip(round(_DOT * distance), _SMALLEST, _LARGEST))


def _colour(gt: int) -> Colour:
    return _MATCHED_COLOURS[gt % len(_MATCHED_COLOURS)]


def _keys(*, ignored: bool) -> list[Key]:
    keys = [Key(ORANGE, "gt box with its number: fg locations", "dashed"), Key(ORANGE, "its fg locations", "dot")]
    return [*keys, Key(WHITE, "ignored", "dot")] if ignored else keys

"""Panels of the dataset and the resize stage: the image with its gt boxes."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.artifacts.image_views import Entry
from pipeline.runtime.words import count_text
from pipeline.views.class_boxes import class_name, layers_by_class
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
    draw_boxes,
    spots_of,
)
from pipeline.views.panels.request import PanelRequest
from pipeline.views.samples import FlaggedGtBoxes, OriginalImages

_SIDE = 900
GT_COLOURS: tuple[Colour, ...] = (ORANGE, SKY_BLUE, YELLOW, PURPLE, GREEN, VERMILLION, WHITE)
"""Of the gt boxes of an image and of what is matched to each, one after another."""


def dataset_panels(request: PanelRequest) -> list[Tile]:
    """The original image."""
    images = OriginalImages(request.folder, request.root / request.command.input("raw"))
    pixels = images.pixels(request.entry.image_id)
    gt = images.gt(Entry(request.entry.image_id), pixels.shape[1])
    row = images.row(request.entry.image_id)
    caption = f"{request.name}, {row['split']}, {row['file']}: {row['width']} x {row['height']} px, {_counts(gt)}"
    layers = class_layers(gt, images.class_names())
    return [Tile(draw_boxes(pixels, layers, _side(request)), caption, _legend(gt))]


def resize_panels(request: PanelRequest) -> list[Tile]:
    """The image as the network sees it."""
    gt, row = request.images.gt_of(request.entry), request.images.row(*request.entry.stored)
    size = f"{row['original_width']} x {row['original_height']} -> {row['width']} x {row['height']} px"
    caption = f"{request.name}, {row['split']}: {size}, {_counts(gt)}"
    layers, pixels = class_layers(gt, request.images.class_names()), request.images.pixels(request.entry)
    spots = [spot for layer in layers for spot in spots_of(layer.boxes, layer.labels, pixels)]
    return [Tile(draw_boxes(pixels, layers, _side(request)), caption, _legend(gt), spots=spots)]


def _side(request: PanelRequest) -> int:
    # The one panel of its stage: there is room.
    return request.side if request.brief else _SIDE


def class_layers(gt: FlaggedGtBoxes, names: Sequence[str]) -> list[BoxLayer]:
    """One layer per gt box, coloured by class; text and line show what is not trained on."""
    marks = [
        _mark(bool(difficult), bool(iscrowd), bool(label < 0))
        for difficult, iscrowd, label in zip(gt.difficult, gt.iscrowd, gt.labels, strict=True)
    ]
    texts = [class_name(names, int(label)) + text for label, (text, _) in zip(gt.labels, marks, strict=True)]
    return layers_by_class(gt.boxes, gt.labels, texts, [dash for _, dash in marks])


def _mark(difficult: bool, iscrowd: bool, is_region: bool) -> tuple[str, Dash]:
    flags = [text for text, holds in (("difficult", difficult), ("crowd", iscrowd)) if holds]
    dash: Dash = "dotted" if iscrowd or is_region else "dashed" if difficult else "solid"
    return (f" ({', '.join(flags)})" if flags else "", dash)


def _counts(gt: FlaggedGtBoxes) -> str:
    kinds = (("difficult", gt.difficult), ("crowd", gt.iscrowd), ("ignore regions", gt.labels < 0))
    counts = [f"{int(flags.sum())} {kind}" for kind, flags in kinds if flags.any()]
    return count_text(len(gt), "gt box", "gt boxes") + (f" ({', '.join(counts)})" if counts else "")


def _legend(gt: FlaggedGtBoxes) -> list[Key]:
    if not gt.ignored.any():
        return []
    keys = [Key(WHITE, "to be found", "solid")]
    keys += [Key(WHITE, "difficult", "dashed")] if gt.difficult.any() else []
    return keys + ([Key(WHITE, "crowd or ignore region", "dotted")] if (gt.iscrowd | (gt.labels < 0)).any() else [])

"""Pictures of the stages that make boxes: gt, anchor targets, proposals, proposal targets, detections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.proposal_targets import ProposalTargets
from pipeline.artifacts.proposals import StoredProposals
from pipeline.artifacts.tables import boxes_of
from pipeline.datasets.base import SPLITS
from pipeline.errors import InputError
from pipeline.views.class_boxes import class_name, layers_by_class
from pipeline.views.command import StageCommand
from pipeline.views.contact_sheet import Tile, contact_sheet
from pipeline.views.drawing import (
    ORANGE,
    PURPLE,
    SKY_BLUE,
    BoxLayer,
    dimmed,
    draw_boxes,
)
from pipeline.views.encoding import Picture, encode_photo
from pipeline.views.samples import FlaggedGtBoxes, NetworkImages, OriginalImages
from pipeline.views.stored_anchors import assignment_of
from pipeline.words import count_text

TILE_SIDE = 440

_SHOWN_PROPOSALS = 15
_SHOWN_ROIS = 10
_SHOWN_SCORE = 0.3
_MOST_DETECTIONS = 20
_HELD_OUT = ("test", "val")  # what the detect stages work on


def dataset_picture(command: StageCommand, root: Path, wanted: Sequence[str] | None) -> Picture:
    """Original images with gt boxes and class names."""
    images = OriginalImages(root / command.out, root / command.input("raw"))
    names = images.class_names()
    tiles = []
    for entry in images.choose(SPLITS, 4, wanted):
        pixels = images.pixels(entry.image_id)
        gt = images.gt(Entry(entry.image_id), pixels.shape[1])
        split = images.row(entry.image_id)["split"]
        caption = f"{split} {entry.image_id}: {count_text(len(gt), 'box', 'boxes')}"
        tiles.append(Tile(_with_gt_classes(pixels, gt, names), caption))
    return encode_photo(contact_sheet(tiles, 2), f"{command.stage}: images with their gt boxes")


def resize_picture(command: StageCommand, root: Path, wanted: Sequence[str] | None) -> Picture:
    """Resized images with gt boxes; the sizes stand in the captions."""
    images = NetworkImages(root / command.out)
    names = images.class_names()
    tiles = []
    for entry in images.choose(SPLITS, 4, wanted):
        row = images.row(*entry.stored)
        before = f"{row['original_width']} x {row['original_height']}"
        caption = f"{_name(entry)}: {before} -> {row['width']} x {row['height']} px"
        tiles.append(Tile(_with_gt_classes(images.pixels(entry), images.gt_of(entry), names), caption))
    return encode_photo(contact_sheet(tiles, 2), f"{command.stage}: images as the network sees them")


def anchor_targets_picture(command: StageCommand, root: Path, wanted: Sequence[str] | None) -> Picture:
    """The fg anchors with the gt boxes that they are matched to."""
    images = NetworkImages(root / command.input("resize"))
    tiles = []
    for entry in images.choose(["train"], 4, wanted):
        gt = images.gt_of(entry).trainable
        own = assignment_of(root / command.out, entry, gt.boxes)
        layers = [BoxLayer(own.fg_anchors, ORANGE, thickness=1), BoxLayer(gt.boxes, SKY_BLUE, thickness=3)]
        counts = f"{len(own.fg)} fg, {int(own.is_bg.sum())} bg of {len(own.is_bg)} anchors"
        tiles.append(Tile(draw_boxes(dimmed(images.pixels(entry)), layers, TILE_SIDE), f"{_name(entry)}: {counts}"))
    legend = [(ORANGE, "fg anchors"), (SKY_BLUE, "gt boxes")]
    return encode_photo(contact_sheet(tiles, 2, legend), f"{command.stage}: fg anchors and their gt boxes")


def proposals_picture(command: StageCommand, root: Path, wanted: Sequence[str] | None) -> Picture:
    """The gt boxes, and beside them the best-ranked proposals."""
    images = NetworkImages(root / command.input("resize"))
    proposals = StoredProposals(root / command.out)
    tiles = []
    for entry in images.choose(["train"], 2, wanted):
        pixels, gt, own = dimmed(images.pixels(entry)), images.gt_of(entry).trainable, proposals[entry]
        boxes, scores = own.boxes, own.scores
        shown = boxes[:_SHOWN_PROPOSALS][::-1]
        tiles += [
            Tile(_with_gt(pixels, gt), f"{_name(entry)}: {count_text(len(gt), 'gt box', 'gt boxes')}"),
            Tile(
                draw_boxes(pixels, [BoxLayer(shown, ORANGE)], TILE_SIDE),
                f"the best {len(shown)} of {len(boxes)} proposals{_range(scores[:_SHOWN_PROPOSALS])}",
            ),
        ]
    legend = [(SKY_BLUE, "gt boxes"), (ORANGE, "proposals")]
    return encode_photo(contact_sheet(tiles, 2, legend), f"{command.stage}: the best-ranked proposals beside the gt")


def proposal_targets_picture(command: StageCommand, root: Path, wanted: Sequence[str] | None) -> Picture:
    """The fg RoIs, and beside them the bg RoIs, each with the gt boxes."""
    images = NetworkImages(root / command.input("resize"))
    targets = ProposalTargets(root / command.out)
    tiles = []
    for entry in images.choose(["train"], 2, wanted):
        pixels, gt, own = dimmed(images.pixels(entry)), images.gt_of(entry).trainable, targets[entry]
        # An appended gt box would hide under the gt box that it is.
        proposed = own.ranks >= 0
        for is_of_kind, colour, kind in ((own.labels > 0, ORANGE, "fg"), (own.labels == 0, PURPLE, "bg")):
            boxes = own.boxes[proposed & is_of_kind]
            shown = boxes[:_SHOWN_ROIS][::-1]
            layers = [BoxLayer(shown, colour), BoxLayer(gt.boxes, SKY_BLUE, thickness=3)]
            caption = f"{_name(entry)}: {len(shown)} of {len(boxes)} {kind} RoIs"
            tiles.append(Tile(draw_boxes(pixels, layers, TILE_SIDE), caption))
    legend = [(ORANGE, "fg RoIs"), (PURPLE, "bg RoIs"), (SKY_BLUE, "gt boxes")]
    return encode_photo(contact_sheet(tiles, 2, legend), f"{command.stage}: fg and bg RoIs with the gt")


def detect_picture(command: StageCommand, root: Path, wanted: Sequence[str] | None) -> Picture:
    """The gt boxes, and beside them the detections, with class and score, drawn in resized images of test, or of val
    where those are named."""
    images = NetworkImages(root / command.input("resize"))
    names = images.class_names()
    detections = ImageRows(root / command.out / "detections.parquet", DETECTIONS)
    tiles = []
    for entry in images.choose(_HELD_OUT, 2, wanted):
        if entry.view:
            raise InputError(
                f"{entry.name}: images of val and test have no mirrors, nor scales; name it {entry.image_id}"
            )
        split = images.row(entry.image_id)["split"]
        pixels, gt, rows = images.pixels(entry), images.gt_of(entry), detections[entry]
        certain = np.flatnonzero(rows["score"] >= _SHOWN_SCORE)[:_MOST_DETECTIONS]
        boxes = boxes_of(rows)[certain] * images.scale(entry.image_id)
        labels = rows["label"][certain].astype(np.int64)
        texts = [
            f"{class_name(names, label)} {score:.2f}"
            for label, score in zip(labels, rows["score"][certain], strict=True)
        ]
        tiles += [
            Tile(
                _with_gt_classes(pixels, gt, names),
                f"{split} {entry.image_id}: {count_text(len(gt), 'gt box', 'gt boxes')}",
            ),
            Tile(
                draw_boxes(pixels, layers_by_class(boxes, labels, texts), TILE_SIDE),
                f"{len(boxes)} of {count_text(len(rows['score']), 'detection')}, score at least {_SHOWN_SCORE}",
            ),
        ]
    return encode_photo(contact_sheet(tiles, 2), f"{command.stage}: detections beside the gt")


def _with_gt(pixels: np.ndarray, gt: FlaggedGtBoxes) -> np.ndarray:
    return draw_boxes(pixels, [BoxLayer(gt.boxes, SKY_BLUE, thickness=3)], TILE_SIDE)


def _with_gt_classes(pixels: np.ndarray, gt: FlaggedGtBoxes, names: Sequence[str]) -> np.ndarray:
    texts = [
        class_name(names, label) + (" (ignored)" if ignored else "")
        for label, ignored in zip(gt.labels, gt.ignored, strict=True)
    ]
    return draw_boxes(pixels, layers_by_class(gt.boxes, gt.labels, texts), TILE_SIDE)


def _name(entry: Entry) -> str:
    return entry.caption


def _range(scores: np.ndarray) -> str:
    return f", score {scores[0]:.2f} to {scores[-1]:.2f}" if len(scores) else ""

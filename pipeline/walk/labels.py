"""Which anchors are fg, bg or ignored, and the 256 that an iteration trains on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.families.faster_rcnn.params.typed import FasterRCNNParams
from pipeline.nn.anchor_matching import match_anchors
from pipeline.nn.boxes import decode, encode, pairwise_iou
from pipeline.nn.matching import BG, FG, IGNORE
from pipeline.nn.sampling import sample_fg_bg
from pipeline.runtime.torch_seeding import torch_generator
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import (
    GREEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    WHITE,
    YELLOW,
    BoxLayer,
    Colour,
    calmed,
    draw_boxes,
)
from pipeline.walk import by_hand
from pipeline.walk.anchors import Anchors, inside_boxes
from pipeline.walk.checking import same
from pipeline.walk.resizing import Resized, numbered

_GT_COLOURS: tuple[Colour, ...] = (ORANGE, YELLOW, GREEN, PURPLE)


@dataclass(frozen=True)
class BestAnchor:
    """What meets a gt box best: the IoU, how many anchors tie for it, how many of them have each (ratio, scale), the
    first of them, its four deltas; and the IoU with the box cut to whole pixels."""

    gt: list[float]
    iou: float
    ties: int
    shapes: dict[tuple[float, float], int]
    anchor: list[float]
    deltas: list[float]
    truncated_iou: float


@dataclass(frozen=True)
class Decoded:
    """An anchor's centre and sides, px, its deltas, and the (4,) box that they make of it."""

    anchor_centre: tuple[float, float]
    anchor_sides: tuple[float, float]
    deltas: list[float]
    box: list[float]

    @property
    def centre(self) -> tuple[float, float]:
        """Of the box, px."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def sides(self) -> tuple[float, float]:
        """Of the box, px."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


@dataclass(frozen=True)
class IoUSteps:
    """Every number of an IoU: sides in px, areas in square px."""

    width: float
    height: float
    shared: float
    gt_area: float
    anchor_area: float
    union: float
    iou: float


@dataclass(frozen=True)
class Overlap:
    """The IoU of a gt box and its best anchor, step by step; `inclusive` counts a width as x2 - x1 + 1."""

    gt: list[float]
    anchor: list[float]
    continuous: IoUSteps
    inclusive: IoUSteps


@dataclass(frozen=True)
class Labels:
    """The labels of the anchors inside.

    Attributes:
        best: one per gt box. fg, bg, ignored: anchors.
        ties: anchors that are the best of some gt box or tie with it. reach_fg_iou: anchors with the IoU that makes any
            anchor fg. both: anchors that are among both.
        truncated_fg, truncated_bg: with the gt boxes cut to whole pixels.
        fg_rows, bg_rows: indices among all anchors of those drawn. fg_gt: (F,) the gt box of each fg
            drawn. deltas: (F, 4) of the fg drawn.
    """

    best: list[BestAnchor]
    ties: int
    fg: int
    bg: int
    ignored: int
    reach_fg_iou: int
    both: int
    truncated_fg: int
    truncated_bg: int
    fg_rows: Tensor
    bg_rows: Tensor
    fg_gt: Tensor
    deltas: Tensor


def labels_of(anchors: Anchors, own: Resized, params: FasterRCNNParams, seed: int) -> Labels:
    """Label the anchors inside and draw the sample."""
    usable = inside_boxes(anchors)
    rule = params.anchor_targets.fg_iou, params.anchor_targets.bg_iou
    matches = match_anchors(usable, own.gt, *rule)
    truncated = torch.from_numpy(own.truncated)
    other = match_anchors(usable, truncated, *rule)
    iou, cut_iou = (pairwise_iou(gt, usable).float() for gt in (own.gt, truncated))
    rows = torch.nonzero(anchors.inside).squeeze(1)
    shapes = [anchors.first[row % anchors.per_location][:2] for row in rows.tolist()]
    best = [
        _best(usable, shapes, gt, row, float(cut_row.max()))
        for gt, row, cut_row in zip(own.boxes.tolist(), iou, cut_iou, strict=True)
    ]
    highest = iou.amax(dim=1, keepdim=True)
    is_best, reaches = ((iou == highest) & (highest > 0)).any(dim=0), matches.max_iou >= rule[0]
    ties, reach, both = (int(each.sum()) for each in (is_best, reaches, is_best & reaches))
    fg, bg = (torch.nonzero(matches.labels == kind).squeeze(1) for kind in (FG, BG))
    rpn = params.rpn
    same("fg anchors", [ties + reach - both], [len(fg)])
    generator = torch_generator(seed, "walk", "anchors")
    drawn_fg, drawn_bg = sample_fg_bg(fg, bg, rpn.anchors_per_image, rpn.fg_fraction, generator)
    deltas = encode(usable[drawn_fg], own.gt[matches.matched_gt[drawn_fg]])
    return Labels(
        best,
        ties,
        len(fg),
        len(bg),
        int((matches.labels == IGNORE).sum()),
        reach,
        both,
        int((other.labels == FG).sum()),
        int((other.labels == BG).sum()),
        rows[drawn_fg],
        rows[drawn_bg],
        matches.matched_gt[drawn_fg],
        deltas.float(),
    )


def _best(
    anchors: Tensor, shapes: list[tuple[float, float]], gt: list[float], iou: Tensor, truncated: float
) -> BestAnchor:
    highest = iou.max()
    tied = torch.nonzero(iou == highest).flatten().tolist()
    first = tied[0]
    anchor = anchors[first].tolist()
    deltas = list(by_hand.encode(anchor, gt))
    compiled = encode(anchors[first : first + 1], torch.tensor([gt], dtype=torch.float64))
    same("deltas", deltas, compiled[0].tolist())
    same("IoU", [by_hand.iou(anchor, gt)], [float(highest)])
    return BestAnchor(gt, float(highest), len(tied), Counter(shapes[row] for row in tied), anchor, deltas, truncated)


def decoded_of(best: BestAnchor) -> Decoded:
    """The deltas of a gt box's best anchor turned back into the gt box."""
    x1, y1, x2, y2 = best.anchor
    sides = x2 - x1, y2 - y1
    box = by_hand.decode(best.anchor, best.deltas)
    same("decoding", box, best.gt)
    compiled = decode(torch.tensor([best.anchor]).double(), torch.tensor([best.deltas]).double())
    same("decoding", box, compiled[0].tolist())
    return Decoded(((x1 + x2) / 2, (y1 + y2) / 2), sides, best.deltas, list(box))


def overlap_of(best: BestAnchor) -> Overlap:
    """Every number of an IoU, in both conventions."""
    return Overlap(best.gt, best.anchor, _steps(best.gt, best.anchor, 0.0), _steps(best.gt, best.anchor, 1.0))


def _steps(gt: list[float], anchor: list[float], one: float) -> IoUSteps:
    shared = by_hand.intersection(gt, anchor, one)
    areas = by_hand.area(gt, one), by_hand.area(anchor, one)
    return IoUSteps(
        min(gt[2], anchor[2]) - max(gt[0], anchor[0]) + one,
        min(gt[3], anchor[3]) - max(gt[1], anchor[1]) + one,
        shared,
        *areas,
        sum(areas) - shared,
        by_hand.iou(gt, anchor, one),
    )


def labels_pictures(own: Resized, anchors: Anchors, labels: Labels, side: int) -> list[Tile]:
    """The fg anchors drawn, in a colour per gt box, then all that are drawn."""
    dim, every = calmed(own.pixels), anchors.every.numpy()
    gt = numbered(own.boxes, thickness=3)
    fg, fg_rows, fg_gt = every[labels.fg_rows.numpy()], len(labels.fg_rows), labels.fg_gt.numpy()
    colours = [_GT_COLOURS[index % len(_GT_COLOURS)] for index in range(len(own.boxes))]
    # There are many times more bg anchors: they are faint, so that the photo and the fg anchors are seen through them.
    bg = BoxLayer(every[labels.bg_rows.numpy()], SKY_BLUE, thickness=1, faint=True)
    drawn = fg_rows + len(labels.bg_rows)
    of_gt = [f"fg of gt box {index}" for index in range(len(own.boxes))]
    if len(own.boxes) > len(_GT_COLOURS):
        of_gt = [f"fg, in one of {len(_GT_COLOURS)} colours by gt box"]
    keys = [Key(colour, text, "solid") for colour, text in zip(colours, of_gt, strict=False)]
    keys.append(Key(WHITE, "gt box with its number", "solid"))

    def fg_layers(thickness: int) -> list[BoxLayer]:
        return [BoxLayer(fg[fg_gt == index], colour, thickness=thickness) for index, colour in enumerate(colours)]

    return [
        Tile(
            draw_boxes(dim, [*fg_layers(1), gt], side),
            f"fg anchors of the sample: {fg_rows}",
            keys,
        ),
        Tile(
            draw_boxes(dim, [bg, *fg_layers(2), gt], side),
            f"all {drawn} anchors of the sample",
            [Key(SKY_BLUE, "bg anchor", "solid"), *keys],
        ),
    ]

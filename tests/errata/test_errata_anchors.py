"""Anchors and their labels as common tutorials have them, beside what is right."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, make_proposals
from pipeline.nn.anchor_matching import match_anchors
from pipeline.nn.anchors import AnchorGrid, inside
from pipeline.nn.boxes import pairwise_iou
from pipeline.nn.matching import BG, FG
from pipeline.nn.sampling import sample_fg_bg
from tests.defaults import default_content
from tests.errata.conftest import Page
from tests.layouts import one_level

GRID = AnchorGrid(16, (0.5, 1.0, 2.0), (8.0, 16.0, 32.0), one_level(16))
TWO_BOXES = torch.tensor([[30.0, 20, 500, 400], [400, 300, 600, 500]])
FOUR_ZEBRAS = torch.tensor([[89.0, 469, 249, 644], [238, 417, 415, 630], [435, 419, 580, 634], [617, 462, 765, 637]])


def inside_800(anchors: Tensor) -> Tensor:
    """Those wholly inside an 800 x 800 image."""
    return anchors[inside(anchors, 800, 800)]


def x_outer(height: int, width: int) -> Tensor:
    """The tutorials' order: all y of one x, then the next x."""
    return GRID.exact([(height, width)]).reshape(height, width, 9, 4).transpose(0, 1).reshape(-1, 4)


def ious_with_inside_anchors(gt_boxes: Tensor) -> Tensor:
    return pairwise_iou(gt_boxes.double(), inside_800(GRID.exact([(50, 50)]))).float()


def count(labels: Tensor, kind: int) -> int:
    return int((labels == kind).sum())


def test_anchor_count_of_800_x_800_is_22500_and_17500_would_be_seven_a_location(errata: Page) -> None:
    locations, wrong = 50 * 50, 17_500
    right = len(GRID([(50, 50)]))
    assert (wrong / locations, right / locations) == (7, GRID.per_location)
    errata.quotes("anchor-count", f"{wrong:,}", f"{right:,}", "7", "9")


def test_anchor_order_with_x_outer_puts_a_proposal_where_another_location_lies(errata: Page) -> None:
    """Of a map of 37 x 56 cells, the RPN is sure of one anchor at row 10, column 40."""
    scores = torch.full((1, 9, 37, 56), -5.0)
    scores[0, 0, 10, 40] = 5
    objectness = scores.permute(0, 2, 3, 1).reshape(-1)
    centres = []
    for anchors in (x_outer(37, 56).float(), GRID([(37, 56)])):
        boxes, _ = make_proposals(
            objectness, torch.zeros(len(anchors), 4), anchors, (600, 901), ProposalRule(1, 1, 1, 0)
        )
        centres.append(tuple(((boxes[0, :2] + boxes[0, 2:]) / 2).tolist()))
    wrong, right = centres
    assert (wrong, right) == ((264, 136), (40.5 * 16, 10.5 * 16))
    errata.quotes("anchor-order", "(264, 136)", "(648, 168)")


def test_anchor_order_decides_the_index_of_a_boxs_best_anchor(errata: Page) -> None:
    firsts = []
    for anchors in (inside_800(x_outer(50, 50)), inside_800(GRID.exact([(50, 50)]))):
        iou = pairwise_iou(TWO_BOXES.double(), anchors).float()
        firsts.append([int(row.eq(row.max()).nonzero()[0]) for row in iou])
    assert firsts == [[2262, 5620], [2262, 4096]]
    errata.quotes("anchor-order", "5620", "4096")


def test_zero_iou_best_makes_every_anchor_fg_for_a_box_that_none_meets(errata: Page) -> None:
    corner = torch.tensor([[0.0, 0, 6, 6]])
    iou = ious_with_inside_anchors(corner)
    wrong = int((iou == iou.amax(dim=1, keepdim=True)).any(dim=0).sum())
    labels = match_anchors(inside_800(GRID.exact([(50, 50)])), corner, 0.7, 0.3).labels
    assert (wrong, count(labels, FG), count(labels, BG)) == (8_940, 0, 8_940)
    errata.quotes("zero-iou-best", "8,940", "0")


def test_negatives_last_takes_a_small_objects_only_anchors_away(errata: Page) -> None:
    small = torch.tensor([[400.0, 400, 440, 440]])
    iou = ious_with_inside_anchors(small)
    max_iou = iou.amax(dim=0)
    labels = torch.full_like(max_iou, -1)
    labels[(iou == iou.amax(dim=1, keepdim=True)).any(dim=0)] = FG
    labels[max_iou >= 0.7] = FG
    labels[max_iou < 0.3] = BG
    matches = match_anchors(inside_800(GRID.exact([(50, 50)])), small, 0.7, 0.3)
    assert (count(labels, FG), count(matches.labels, FG)) == (0, 90)
    assert f"{float(matches.max_iou.max()):.3f}" == "0.098"
    errata.quotes("negatives-last", "0", "90", "0.098")


def test_negatives_count_is_what_the_positives_leave_and_not_256_a_positive(errata: Page) -> None:
    labels = match_anchors(inside_800(GRID.exact([(50, 50)])), FOUR_ZEBRAS, 0.7, 0.3).labels
    fg, bg = (torch.nonzero(labels == kind).squeeze(1) for kind in (FG, BG))
    wrong = min(len(bg), 256 * len(fg))
    drawn_fg, drawn_bg = sample_fg_bg(fg, bg, 256, 0.5, torch.Generator().manual_seed(0))
    assert (256 * len(fg), wrong, len(drawn_fg), len(drawn_bg)) == (11_520, 7_469, 45, 256 - 45)
    errata.quotes("negatives-count", "11,520", "7,469", "45", "211", f"{100 * len(fg) / (len(fg) + wrong):.1f} %")


def test_anchor_sample_is_256_at_most_half_fg_and_not_128_a_quarter_fg(errata: Page) -> None:
    rpn = default_content()["rpn"]
    many = torch.arange(1000)
    wrong = [int(128 * 0.25), 128 - int(128 * 0.25)]
    drawn = sample_fg_bg(many, many, rpn["anchors_per_image"], rpn["fg_fraction"], torch.Generator().manual_seed(0))
    right = [len(part) for part in drawn]
    assert (wrong, right) == ([32, 96], [128, 128])
    errata.quotes("anchor-sample", "32", "96", "128")


def test_fg_below_03_would_be_the_very_anchors_that_are_background(errata: Page) -> None:
    max_iou = ious_with_inside_anchors(TWO_BOXES).amax(dim=0)
    wrong_fg = max_iou < 0.3
    labels = match_anchors(inside_800(GRID.exact([(50, 50)])), TWO_BOXES, 0.7, 0.3).labels
    assert torch.equal(wrong_fg, labels == BG)
    assert (int(wrong_fg.sum()), count(labels, FG)) == (7_690, 18)
    errata.quotes("fg-below-03", "7,690", "18")

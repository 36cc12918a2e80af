"""Rules of matching and their order, on boxes whose IoUs are plain from their heights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.families.faster_rcnn.nn.proposal_matching import match_proposals
from pipeline.nn.anchor_matching import AnchorsOfSize, assign_anchors, match_anchors
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.boxes import pairwise_iou
from pipeline.nn.matching import BG, FG, IGNORE, ignore_in_regions
from tests.layouts import one_level

GT = torch.tensor([[0.0, 0, 10, 10]])
REGION = torch.tensor([[0.0, 0, 160, 256]])
FAR = torch.tensor([[100.0, 100, 110, 110]])


def covering(*heights: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Boxes inside GT, whose IoU with it is a tenth of their height."""
    return torch.tensor([[0, 0, 10, height] for height in heights], dtype=dtype)


def test_anchors_are_fg_from_the_upper_threshold_bg_below_the_lower_and_ignored_between() -> None:
    matches = match_anchors(covering(9, 7, 6.99, 3, 2.99), GT, 0.7, 0.3)
    assert matches.labels.tolist() == [FG, FG, IGNORE, IGNORE, BG]
    assert matches.labels.dtype == torch.int8
    torch.testing.assert_close(matches.max_iou, torch.tensor([0.9, 0.7, 0.699, 0.3, 0.299]))


def test_best_anchor_of_a_gt_is_fg_even_where_its_iou_makes_it_background() -> None:
    assert match_anchors(covering(2, 1), GT, 0.7, 0.3).labels.tolist() == [FG, BG]


def test_all_anchors_that_tie_for_a_gts_best_are_fg() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 5], [0, 5, 10, 10], [0, 0, 5, 10], [0, 0, 10, 4]])
    assert match_anchors(anchors, GT, 0.7, 0.3).labels.tolist() == [FG, FG, FG, IGNORE]


def test_best_is_meant_per_gt_and_not_over_all() -> None:
    gt = torch.cat([GT, FAR])
    anchors = torch.cat([covering(9), covering(4), FAR.double() + torch.tensor([0, 5, 0, 5])])
    assert match_anchors(anchors, gt, 0.7, 0.3).labels.tolist() == [FG, IGNORE, FG]


def test_a_gt_that_no_anchor_meets_makes_no_anchor_fg() -> None:
    assert match_anchors(covering(8, 2), torch.cat([FAR, GT]), 0.7, 0.3).labels.tolist() == [FG, BG]
    assert match_anchors(covering(8, 2), FAR, 0.7, 0.3).labels.tolist() == [BG, BG]


def test_an_anchor_is_matched_to_the_gt_that_it_overlaps_most_even_if_another_made_it_fg() -> None:
    wide, narrow = [0.0, 0, 10, 10], [9.0, 0, 19, 10]
    anchor = torch.tensor([[0.0, 0, 11, 10]])
    matches = match_anchors(anchor, torch.tensor([narrow, wide]), 0.99, 0.3)
    assert matches.labels.tolist() == [FG]
    assert matches.matched_gt.tolist() == [1]


def test_without_gt_boxes_every_anchor_is_background() -> None:
    matches = match_anchors(covering(9, 1), torch.zeros(0, 4), 0.7, 0.3)
    assert matches.labels.tolist() == [BG, BG]
    assert matches.max_iou.tolist() == [0, 0]
    assert matches.matched_gt.tolist() == [0, 0]


@pytest.mark.parametrize("border", [0.0, 3.0, None])
@pytest.mark.parametrize("gt", [torch.zeros(0, 4), torch.tensor([[1.0, 0, 300, 4]])], ids=["without gt", "with gt"])
@pytest.mark.parametrize("regions", [torch.zeros(0, 4), GT], ids=["without regions", "with regions"])
def test_an_image_in_which_no_anchor_may_be_used_has_neither_fg_nor_bg(
    gt: Tensor, regions: Tensor, border: float | None
) -> None:
    anchors = AnchorGrid(16, (0.5, 1.0, 2.0), (4.0,), one_level(8)).exact([(1, 40)])
    rules = {"fg_iou": 0.7, "bg_iou": 0.3, "ignore_ioa": 0.5}
    matches = assign_anchors(anchors, (4, 320), gt, regions, allowed_border=border, **rules)
    assert len(matches.labels) == len(matches.matched_gt) == len(matches.max_iou) == len(anchors)
    if border is not None:
        assert set(matches.labels.tolist()) == {IGNORE} and not matches.max_iou.any()
    else:
        assert set(matches.labels.tolist()) > {BG} or len(gt) == 0


@pytest.mark.parametrize("stride", [8, 4])
@pytest.mark.parametrize("border", [16.0, 0.0, None])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_anchors_of_a_size_are_matched_image_by_image_as_few_are(
    border: float | None, stride: int, dtype: torch.dtype
) -> None:
    """Few anchors and many are matched in two ways; here both, and the rule itself on all IoUs."""
    anchors = AnchorGrid(16, (0.5, 1.0, 2.0), (1.0, 2.0), one_level(stride)).exact([(256 // stride, 320 // stride)])
    anchors = anchors.to(dtype)
    of_size, draw = AnchorsOfSize(anchors, (256, 320), border), torch.Generator().manual_seed(0)
    used = anchors[of_size.used].double()
    assert (len(used) == len(anchors)) is (border is None) and (len(used) >= 16384) is (stride == 4)
    assert border is None or bool(
        (used[:, :2] >= -border).all() and (used[:, 2:] <= torch.tensor([320, 256]) + border).all()
    )
    for count in (3, 0, 1, 5):
        corners = torch.rand(count, 2, generator=draw) * 200
        gt = torch.cat([corners, corners + 20 + torch.rand(count, 2, generator=draw) * 100], dim=1)
        own = of_size.match(gt, REGION, fg_iou=0.7, bg_iou=0.3, ignore_ioa=0.9)
        ious = [pairwise_iou(gt.double(), some, torch.float32) for some in used.split(512)]
        max_iou, matched_gt = torch.cat([torch.zeros(1, len(used)), torch.cat(ious, dim=1)]).max(dim=0)
        is_fg = (max_iou >= 0.7) | (torch.cat(ious, dim=1) == torch.cat(ious, dim=1).amax(1, keepdim=True)).any(0)
        labels = torch.where(is_fg, FG, torch.where(max_iou < 0.3, BG, IGNORE)).to(torch.int8)
        assert torch.equal(own.max_iou, max_iou)
        assert torch.equal(own.matched_gt[max_iou > 0], matched_gt[max_iou > 0] - 1)
        assert torch.equal(own.labels, ignore_in_regions(labels, used, REGION, 0.9))
        assert not torch.equal(own.labels, labels)


def test_a_gt_box_beside_all_anchors_makes_none_fg_however_many_there_are() -> None:
    for stride in (16, 2):
        anchors = AnchorGrid(16, (1.0,), (1.0,), one_level(stride)).exact([(256 // stride, 320 // stride)])
        matches = match_anchors(anchors, torch.tensor([[400.0, 0, 420, 20]]), 0.7, 0.3)
        assert set(matches.labels.tolist()) == {BG} and not matches.max_iou.any()


def test_an_anchor_of_nan_changes_no_other() -> None:
    anchors = AnchorGrid(16, (1.0,), (1.0,), one_level(2)).exact([(128, 160)])
    broken = anchors.clone()
    broken[5000] = torch.nan
    gt = torch.tensor([[60.0, 50, 80, 70]])
    own, other = (match_anchors(some, gt, 0.7, 0.3) for some in (anchors, broken))
    assert own.max_iou[5000] > 0  # so that its block is looked at
    others = torch.arange(len(anchors)) != 5000
    assert torch.equal(own.max_iou[others], other.max_iou[others])


@given(st.integers(8, 24), st.integers(8, 24), st.integers(40, 160), st.integers(40, 160))
def test_anchors_that_lie_alike_around_a_box_are_all_fg_or_none(x: int, y: int, width: int, height: int) -> None:
    """Mirroring a box and a symmetric grid mirrors the labels, whatever the rounding of irrational anchor sides."""
    grid = AnchorGrid(16, (0.5, 1.0, 2.0), (4.0,), one_level(16)).exact([(16, 16)])
    box = torch.tensor([[x * 4.0, y * 2.0, x * 4.0 + width, y * 2.0 + height]])
    flipped = torch.tensor([[256 - float(box[0, 2]), float(box[0, 1]), 256 - float(box[0, 0]), float(box[0, 3])]])
    labels = match_anchors(grid, box, 0.7, 0.3).labels.reshape(16, 16, 3)
    assert torch.equal(match_anchors(grid, flipped, 0.7, 0.3).labels.reshape(16, 16, 3), labels.flip(1))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 0.5, [FG, FG, BG, BG, BG, BG]),
        (0.1, 0.5, [FG, FG, BG, BG, BG, IGNORE]),
        (0.1, 0.3, [FG, FG, IGNORE, IGNORE, BG, IGNORE]),
    ],
)
def test_proposals_are_bg_from_the_lower_bound_up_to_but_without_the_upper(
    low: float, high: float, expected: list[int]
) -> None:
    proposals = covering(9, 5, 4.99, 3, 1, 0.5, dtype=torch.float32)
    matches = match_proposals(proposals, GT, 0.5, high, low)
    assert matches.labels.tolist() == expected
    torch.testing.assert_close(matches.max_iou, pairwise_iou(GT, proposals)[0])


def test_a_gts_best_proposal_is_not_fg_for_that_alone() -> None:
    assert match_proposals(covering(4, dtype=torch.float32), GT, 0.5, 0.5, 0.0).labels.tolist() == [BG]


def test_proposals_are_matched_to_the_gt_that_they_overlap_most() -> None:
    gt = torch.cat([FAR, GT])
    assert match_proposals(torch.cat([GT, FAR]), gt, 0.5, 0.5, 0.0).matched_gt.tolist() == [1, 0]


@pytest.mark.parametrize(("low", "label"), [(0.0, BG), (0.1, IGNORE)])
def test_without_gt_boxes_the_iou_is_0_which_is_background_unless_the_lower_bound_forbids(
    low: float, label: int
) -> None:
    matches = match_proposals(covering(9, 1, dtype=torch.float32), torch.zeros(0, 4), 0.5, 0.5, low)
    assert matches.labels.tolist() == [label, label]
    assert matches.max_iou.tolist() == [0, 0]
    assert matches.matched_gt.tolist() == [0, 0]


def test_background_in_an_ignore_region_is_ignored_from_the_declared_share_on() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [6, 0, 16, 10], [40, 40, 50, 50], [5, 5, 5, 9]])
    region = torch.tensor([[0.0, 0, 10, 100], [30, 30, 60, 60]])
    bg = torch.zeros(5, dtype=torch.int8)
    assert ignore_in_regions(bg, boxes, region, 0.5).tolist() == [-1, -1, 0, -1, 0]  # shares 1, .5, .4, 1; no area
    assert ignore_in_regions(bg, boxes, region, 0.4).tolist() == [-1, -1, -1, -1, 0]
    assert ignore_in_regions(bg, boxes, region, 1.0).tolist() == [-1, 0, 0, -1, 0]
    fg = torch.tensor([1, -1, 1, 0, 0], dtype=torch.int8)
    assert ignore_in_regions(fg, boxes, region, 0.5).tolist() == [1, -1, 1, -1, 0]


def test_a_small_region_in_a_large_box_and_two_halves_do_not_ignore_it() -> None:
    box = torch.tensor([[0.0, 0, 10, 10]])
    halves = torch.tensor([[0.0, 0, 4, 10], [6, 0, 10, 10]])  # .8 together, but the share is that of one region
    assert ignore_in_regions(torch.zeros(1, dtype=torch.int8), box, halves, 0.5).tolist() == [0]


def test_without_regions_or_boxes_labels_stay() -> None:
    labels = torch.tensor([0, 1, -1], dtype=torch.int8)
    assert ignore_in_regions(labels, torch.zeros(3, 4), torch.zeros(0, 4), 0.5) is labels
    assert len(ignore_in_regions(labels[:0], torch.zeros(0, 4), torch.zeros(2, 4), 0.5)) == 0

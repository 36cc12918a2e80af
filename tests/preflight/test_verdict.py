"""When anchors fit, when others are proposed, and that a proposal is better."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.params.anchors import AnchorParams
from pipeline.preflight.anchor_fit import Placement
from pipeline.preflight.anchor_picture import anchor_panels
from pipeline.preflight.anchor_report import level_lines
from pipeline.preflight.collecting import DatasetBoxes
from pipeline.preflight.verdict import judge_anchors
from tests.layouts import PYRAMID, one_level

PLACEMENT = Placement(one_level(8), None)


def squares(*sides: float, count: int = 30) -> DatasetBoxes:
    """Boxes around the middle of a cell of 400 x 400 px."""
    side = np.repeat(sides, count)[:, None]
    boxes = (204 + np.concatenate([-side, -side, side, side], axis=1) / 2).astype(np.float32)
    n = len(boxes)
    sizes = np.full((n, 2), 400, np.int32)
    return DatasetBoxes(boxes, sizes, np.ones(n, np.int16), np.zeros(n, np.int8), np.ones(n, np.bool_))


def anchors(*scales: float) -> AnchorParams:
    return AnchorParams(base_size=16.0, ratios=[1.0], scales=list(scales))


def test_anchors_as_large_as_the_boxes_fit() -> None:
    verdict = judge_anchors(squares(32, 64), anchors(2.0, 4.0), PLACEMENT, 0)
    assert verdict.kind == "fit" and verdict.configured.mean == pytest.approx(1)
    assert verdict.configured.below(0.7) == 0


def test_anchors_far_too_small_are_replaced_by_such_that_reach_all() -> None:
    verdict = judge_anchors(squares(100, 200), anchors(1.0, 2.0), PLACEMENT, 0)
    assert verdict.kind == "propose" and verdict.configured.below(0.5) == 1
    assert verdict.proposed.mean > 0.9 and verdict.proposed.below(0.7) == 0
    assert verdict.grid.scales == pytest.approx((100 / 16, 200 / 16), rel=0.1)
    assert verdict.clustered.mean == pytest.approx(1) and len(verdict.clustered.shapes) == 2


def test_a_mean_that_can_rise_much_is_reason_enough() -> None:
    verdict = judge_anchors(squares(50), anchors(40 / 16), PLACEMENT, 0)
    assert verdict.configured.below(0.5) == 0 and verdict.configured.mean == pytest.approx(0.64)
    assert verdict.kind == "propose"


def test_boxes_that_no_anchor_can_reach_bring_no_proposal() -> None:
    # One pixel at the corner of four cells: the nearest anchor centre is 4 px off, whatever the anchors' shape.
    gt = squares(1.0)
    corner = DatasetBoxes(gt.boxes - 4, gt.sizes, gt.labels, gt.splits, gt.trainable)
    verdict = judge_anchors(corner, anchors(9 / 16), PLACEMENT, 0)
    assert verdict.kind == "no_better" and verdict.configured.below(0.5) == 1


def test_equal_arguments_give_equal_verdicts_where_boxes_are_sampled() -> None:
    draw = np.random.default_rng(0)
    gt = squares(*draw.uniform(20, 200, 2_500), count=1)
    first, second = (judge_anchors(gt, anchors(1.0, 2.0), PLACEMENT, 5) for _ in range(2))
    assert first.grid == second.grid
    assert np.array_equal(first.clustered.shapes, second.clustered.shapes)
    assert len(first.proposed.best_iou) == 2_500


def test_anchors_of_all_levels_are_judged_and_drawn() -> None:
    placement, gt = Placement(PYRAMID, None, on_cells="torchvision"), squares(32, 64, 128)
    verdict = judge_anchors(gt, anchors(2.0), placement, 0)
    assert verdict.kind == "fit" and verdict.configured.below(0.7) == 0
    sizes = anchor_panels(gt.shapes, anchors(2.0), verdict, placement)[0].chart.to_dict()
    marks = [row for rows in sizes["datasets"].values() for row in rows if row.get("kind") == "anchors"]
    assert [(row["width"], row["height"]) for row in marks] == [(side, side) for side in (32, 64, 128, 256, 512)]


def test_scales_for_several_levels_leave_large_boxes_to_the_coarse_ones() -> None:
    placement, gt = Placement(PYRAMID, None), squares(100, 200)
    verdict = judge_anchors(gt, anchors(0.3), placement, 0)
    assert verdict.kind == "propose" and verdict.proposed.below(0.5) == 0
    assert max(verdict.grid.scales) * 16 <= 12 * 4, "anchors of 100 px on the first level would be 25 strides"
    assert verdict.clustered.shapes.max() <= 48, "brought to the first level"
    first = np.full((1, 2), 25.0)
    best = placement.best_of_levels(gt.boxes, gt.sizes, first)
    assert best.shape == (60, 5) and np.array_equal(best.max(axis=1), placement.best_iou(gt.boxes, gt.sizes, first))
    lines = list(level_lines(best, first, placement))
    assert [line.split()[:8] for line in lines[-3:]] == [
        ["level", "2,", "stride", "16:", "anchors", "of", "100", "px"],
        ["level", "3,", "stride", "32:", "anchors", "of", "200", "px"],
        ["level", "4,", "stride", "64:", "anchors", "of", "400", "px"],
    ]
    assert [line.split()[8:10] for line in lines[-3:]] == [["30", "50.0%"], ["30", "50.0%"], ["0", "0.0%"]]

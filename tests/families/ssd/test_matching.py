"""Which default box is to find which object, against plain loops over boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.dense.assignment import Assignment, Truth, assign
from pipeline.families.ssd import dense_targets
from pipeline.families.ssd.default_boxes import default_boxes
from pipeline.geometry.points import Grid
from pipeline.params.reading import Params
from tests.families.truths import truth
from tests.ssd_models import ssd_params

SIZE = (64, 64)
GRID = Grid((8, 16), ((8, 8), (4, 4)), (4, 4))
VOC_PARAMS = ssd_params()
TWO_LEVELS: dict[str, Any] = {"scales": [0.2, 0.4, 0.7], "ratios": [[2.0], [2.0]]}


def params_of(**own: Any) -> Params:
    """Of a grid of two levels."""
    params = VOC_PARAMS
    section = type(params.ssd).model_validate({**params.ssd.model_dump(), **TWO_LEVELS, **own})
    return Params({**params.sections(), "ssd": section}, "ssd")


def assigned(known: Truth, **own: Any) -> Assignment:
    return assign(dense_targets, known, GRID, SIZE, params_of(**own))  # type: ignore[arg-type]


def iou(one: np.ndarray, other: np.ndarray) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    areas = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return shared / (areas - shared)


def by_loops(known: Truth, matching: str, fg_iou: float, bg_iou: float) -> list[int]:
    """The gt box of each default box, -1 for background, -2 for ignored."""
    boxes = default_boxes(GRID, SIZE, params_of().ssd)
    table = [[np.float32(iou(box, gt)) for gt in known.boxes.astype(np.float64)] for box in boxes]
    found = []
    for row in table:
        best = max(range(len(row)), key=row.__getitem__)
        found.append(best if row[best] >= fg_iou else -1 if row[best] < bg_iou else -2)

    def rank(box: int, gt: int) -> tuple[float, int, float, int]:
        away = boxes[box].reshape(2, 2).sum(axis=0) - known.boxes[gt].astype(np.float64).reshape(2, 2).sum(axis=0)
        return float(table[box][gt]), -gt, -float(np.square(away).sum()), -box

    ranks = {(box, gt): rank(box, gt) for box in range(len(boxes)) for gt in range(len(known.boxes))}
    gts, free = list(range(len(known.boxes))), set(range(len(boxes)))
    if matching == "best":
        for gt in gts:
            found[max(free, key=lambda box: ranks[box, gt])] = gt
        return found
    while gts:
        box, gt = max(((box, gt) for box in free for gt in gts), key=ranks.__getitem__)
        found[box] = gt
        free.remove(box)
        gts.remove(gt)
    return found


@pytest.mark.parametrize("matching", ["bipartite", "best"])
@pytest.mark.parametrize("bounds", [(0.5, 0.5), (0.6, 0.3)])
@pytest.mark.parametrize("seed", range(2))
def test_matching_is_that_of_plain_loops(matching: str, bounds: tuple[float, float], seed: int) -> None:
    """Objects crowd, so that several have one best default box."""
    draw = np.random.default_rng(seed)
    low = draw.uniform(18, 30, (7, 2))
    known = truth(*np.concatenate([low, low + draw.uniform(3, 20, (7, 2))], axis=1).tolist())
    known = Truth((np.round(known.boxes * 64) / 64).astype(np.float32), known.labels, known.regions)
    fg_iou, bg_iou = bounds
    own = assigned(known, matching=matching, fg_iou=fg_iou, bg_iou=bg_iou)
    found = np.where(own.labels > 0, own.matched_gt, own.labels - 1)
    assert found.tolist() == by_loops(known, matching, fg_iou, bg_iou)


def test_two_objects_of_one_best_box_have_a_box_each_unless_the_later_takes_it() -> None:
    known = truth([18, 18, 21, 21], [18, 18, 22, 22])  # both tiny, in one cell
    own = assigned(known)
    assert sorted(own.labels[own.labels > 0].tolist()) == [1, 2]
    assert set(assigned(known, matching="best").labels.tolist()) == {0, 2}


def test_at_the_threshold_a_box_is_to_find_the_object() -> None:
    known = truth([10, 10, 24, 26])
    all_of_it = assigned(known, fg_iou=0.2, bg_iou=0.2)
    place = int(np.where(all_of_it.labels > 0, all_of_it.quality, 1).argmin())
    at = all_of_it.quality[place]
    assert 0.2 <= at < all_of_it.quality.max()
    for threshold, label in ((at, 1), (np.nextafter(at, np.float32(1)), 0)):
        assert assigned(known, fg_iou=float(threshold), bg_iou=float(threshold)).labels[place] == label


def test_of_boxes_that_overlap_a_small_object_alike_the_nearest_finds_it() -> None:
    """It lies in the square, the wide and the high box of several cells, which have one area."""
    own = assigned(truth([19, 19, 21, 21]))
    (place,) = np.flatnonzero(own.labels > 0)
    assert GRID.centres()[place].tolist() == [20, 20] and GRID.places(place).anchor == 0
    assert assigned(truth([17, 19, 19, 21])).labels[place] == 1  # 18 is nearer to 20 than to 12
    assert assigned(truth([13, 19, 15, 21])).labels[place - 4] == 1


def test_what_lies_between_the_thresholds_is_ignored() -> None:
    known = truth([10, 10, 24, 26])
    own, lower = assigned(known), assigned(known, bg_iou=0.3)
    between = lower.labels == -1
    assert between.any() and (own.labels[between] == 0).all()
    assert (own.labels[~between] == lower.labels[~between]).all() and not (own.labels == -1).any()


def test_boxes_in_a_region_are_ignored_but_those_that_find_an_object() -> None:
    region = [0.0, 0.0, 32.0, 32.0]
    plain, own = assigned(truth([4, 4, 20, 20])), assigned(truth([4, 4, 20, 20], regions=[region]))
    boxes = default_boxes(GRID, SIZE, params_of().ssd)
    low, high = np.maximum(boxes[:, :2], 0), np.minimum(boxes[:, 2:], 32)
    share = np.clip(high - low, 0, None).prod(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    inside = share >= 0.5
    assert 0 < inside.sum() < len(boxes) and (plain.labels[inside] > 0).any()
    assert (own.labels == np.where(inside & (plain.labels == 0), -1, plain.labels)).all()
    assert (assigned(truth(regions=[region])).labels == -inside.astype(int)).all()


def test_an_image_without_objects_is_background() -> None:
    assert assigned(truth()).labels.tolist() == [0] * len(GRID)


def test_the_quality_is_the_iou_with_the_object_that_is_to_be_found() -> None:
    known = truth([18, 18, 21, 21], [18, 18, 22, 22], [30, 30, 60, 50])
    own = assigned(known)
    boxes = default_boxes(GRID, SIZE, params_of().ssd)
    fg = np.flatnonzero(own.labels > 0)
    expected = [iou(boxes[place], known.boxes[own.matched_gt[place]].astype(np.float64)) for place in fg]
    assert own.quality[fg] == pytest.approx(expected, abs=1e-6) and not own.quality[own.labels <= 0].any()


@pytest.mark.parametrize("matching", ["bipartite", "best"])
@pytest.mark.parametrize("seed", range(3))
def test_a_mirrored_image_has_the_mirrored_assignment(matching: str, seed: int) -> None:
    """In an image whose cells lie alike from both sides; no object lies as far from two cells."""
    draw = np.random.default_rng(seed)
    low = draw.uniform(0, 50, (8, 2))
    boxes = np.concatenate([low, np.minimum(low + draw.uniform(2, 40, (8, 2)), 64)], axis=1).astype(np.float32)
    turned = (boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [64, 0, 64, 0]).astype(np.float32)
    labels = np.arange(1, 7)
    own, other = (assigned(Truth(both[:6], labels, both[6:]), matching=matching) for both in (boxes, turned))
    for name in ("labels", "quality"):
        levels = zip(GRID.split(getattr(own, name)), GRID.split(getattr(other, name)), strict=True)
        assert all((one[:, ::-1] == two).all() for one, two in levels)

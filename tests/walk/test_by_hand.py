"""The plain Python beside the detector's own code, on boxes drawn at random and on published examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.metrics.rows import DetectionRows, GtRows, pair_iou
from pipeline.metrics.voc_ap import voc_ap
from pipeline.nn.boxes import encode
from pipeline.nn.operators import compiled_roi_align, nms
from pipeline.nn.smooth_l1 import smooth_l1
from pipeline.runtime.seeding import numpy_generator
from pipeline.walk import by_hand
from pipeline.walk.by_hand import Detected
from pipeline.walk.checking import same


def random_boxes(count: int, *key: str | int) -> np.ndarray:
    """Whole numbers, so that float32 is exact."""
    draw = numpy_generator(0, *key)
    corners = draw.integers(0, 60, (count, 2))
    return np.concatenate([corners, corners + draw.integers(1, 60, (count, 2))], axis=1).astype(np.float64)


@pytest.mark.parametrize("one", [0.0, 1.0])
def test_iou_is_that_of_the_metrics(one: float) -> None:
    boxes, others = random_boxes(40, "iou"), random_boxes(40, "other")
    by_pairs = [by_hand.iou(a, b, one) for a, b in zip(boxes.tolist(), others.tolist(), strict=True)]
    np.testing.assert_allclose(by_pairs, pair_iou(boxes, others, inclusive_pixels=one == 1), rtol=1e-12)
    assert 0 < np.mean(by_pairs) < 1


def test_boxes_without_area_have_an_iou_of_0() -> None:
    assert by_hand.iou((1, 1, 1, 1), (1, 1, 1, 1)) == 0


def test_deltas_are_the_encoded_ones() -> None:
    anchors, targets = random_boxes(20, "anchors"), random_boxes(20, "targets")
    own = [by_hand.encode(a, b) for a, b in zip(anchors.tolist(), targets.tolist(), strict=True)]
    np.testing.assert_allclose(own, encode(torch.from_numpy(anchors), torch.from_numpy(targets)).numpy(), atol=1e-12)


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_smooth_l1_is_the_losses(sigma: float) -> None:
    values = torch.linspace(-2, 2, 41, dtype=torch.float64)
    own = [by_hand.smooth_l1(value, sigma) for value in values.tolist()]
    np.testing.assert_allclose(own, smooth_l1(values, sigma).numpy(), atol=1e-12)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_nms_keeps_what_the_compiled_one_keeps(threshold: float) -> None:
    boxes = random_boxes(80, "nms")
    scores = numpy_generator(0, "scores").permutation(80) / 80
    own = [step.kept for step in by_hand.nms(boxes.tolist(), scores.tolist(), threshold)]
    compiled = nms(torch.from_numpy(boxes).float(), torch.from_numpy(scores).float(), threshold).tolist()
    assert own == compiled
    assert 1 < len(own) < 80


def test_every_box_is_kept_or_goes_once() -> None:
    boxes = random_boxes(30, "once")
    steps = by_hand.nms(boxes.tolist(), list(range(30)), 0.4)
    gone = [index for step in steps for index, _, goes in step.others if goes]
    assert sorted([*(step.kept for step in steps), *gone]) == list(range(30))


def test_bilinear_is_a_sample_of_roi_align() -> None:
    values = torch.from_numpy(numpy_generator(0, "map").random((1, 1, 5, 6))).float()
    for x, y in ((0.0, 0.0), (1.25, 3.5), (5.0, 4.0), (4.9, 0.1)):
        # One sample in the middle of a RoI of one bin.
        roi = torch.tensor([[0.0, x, y, x + 1, y + 1]])
        compiled = float(compiled_roi_align(values, roi, 1.0, 1, 1))
        assert by_hand.bilinear(values[0, 0].tolist(), x, y) == pytest.approx(compiled, abs=1e-6)


@pytest.mark.parametrize("least_iou", [0.2, 0.5, 0.75])
def test_ap_is_that_of_the_metrics(least_iou: float) -> None:
    draw = numpy_generator(0, "ap")
    truth, found = random_boxes(12, "truth"), random_boxes(60, "found")
    found[:30] = truth[draw.integers(0, 12, 30)] + draw.integers(-3, 4, (30, 4))
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    images, of = draw.integers(0, 3, 12), draw.integers(0, 3, 60)
    scores = draw.permutation(60) / 60
    rows = by_hand.rank_detections(
        [
            Detected(str(i), tuple(box), score)
            for i, box, score in zip(of, found.tolist(), scores.tolist(), strict=True)
        ],
        [Detected(str(i), tuple(box)) for i, box in zip(images, truth.tolist(), strict=True)],
        least_iou,
    )
    none = np.zeros(12, bool)
    gt = GtRows(images, np.ones(12, np.int64), truth.astype(np.float32), none, none)
    detections = DetectionRows(of, np.ones(60, np.int64), scores.astype(np.float32), found.astype(np.float32))
    own = voc_ap(detections, gt, 2, least_iou).classes[0]
    assert by_hand.average_precision(rows) == pytest.approx(own.ap_all_point, abs=1e-9)
    np.testing.assert_allclose([row.precision for row in rows], own.precision)
    assert 0 < own.ap_all_point < 1


def test_numbers_that_differ_stop_the_page() -> None:
    assert same("x", [1.0, 2.0], [1.0, 2.0 + 1e-9]) == 2
    for other in ([1.0, 2.1], [1.0]):
        with pytest.raises(RuntimeError, match=r"x: .* by hand, .* by the detector's own code"):
            same("x", [1.0, 2.0], other)


def test_deltas_are_decoded_to_their_box() -> None:
    anchor, box = (104.0, 472.0, 232.0, 600.0), (89.2, 469.32, 249.2, 644.56)
    assert by_hand.decode(anchor, by_hand.encode(anchor, box)) == pytest.approx(box)

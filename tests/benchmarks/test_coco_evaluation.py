"""Both sides of the benchmark give the same figures, on a small scale."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coco_evaluation import as_lists, by_our_library, by_pycocotools, made_up
from pipeline.metrics.coco_ap import COCO_METRICS, coco_metrics


@pytest.mark.parametrize("classes", [3, 40])
def test_our_figures_are_those_of_pycocotools(classes: int) -> None:
    detections, truth = made_up(images=40, per_image=20, classes=classes)
    expected = by_pycocotools(as_lists(detections, truth))
    ours = coco_metrics(detections, truth)
    np.testing.assert_allclose([ours[name] for name in COCO_METRICS], expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(by_our_library(as_lists(detections, truth)), expected, rtol=0, atol=1e-9)
    assert 0 < ours["AP"] < 1

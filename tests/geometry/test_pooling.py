"""RoIPool and RoIAlign in NumPy against the detector's operators."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.geometry.pooling import pool_rois
from pipeline.nn.operators import compiled_roi_align, roi_pool
from pipeline.nn.roi_pooling import POOLS
from pipeline.views.stored_anchors import decode_targets


def rois() -> np.ndarray:
    """Inside, at the border, beyond it, thinner than a cell, and on halves of cells."""
    draw = np.random.default_rng(0)
    corners = draw.uniform(-20, 180, (60, 2))
    random = np.concatenate([corners, corners + draw.uniform(0.5, 120, (60, 2))], axis=1)
    chosen = [(0, 0, 160, 96), (4, 4, 12, 12), (20, 36, 20.5, 36.5), (150, 90, 200, 120), (-30, -30, -10, -10)]
    return np.concatenate([random, chosen]).astype(np.float32)


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize(("scale", "size"), [(1 / 8, 7), (1 / 16, 7), (1 / 8, 3)])
def test_pooled_rois_are_the_detectors(kind: str, scale: float, size: int) -> None:
    feature_map = np.random.default_rng(1).normal(size=(5, 12, 20)).astype(np.float32)
    boxes = rois()
    with_index = torch.from_numpy(np.concatenate([np.zeros((len(boxes), 1), np.float32), boxes], axis=1))
    maps = torch.from_numpy(feature_map)[None]
    expected = POOLS[kind](maps, with_index, scale, size)
    found = pool_rois([feature_map], boxes, [round(1 / scale)], size, kind)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
    assert roi_pool is POOLS["roi_pool"]
    if kind == "roi_align":
        np.testing.assert_allclose(found, compiled_roi_align(maps, with_index, scale, size, 2).numpy(), atol=1e-4)


def test_no_rois_are_pooled_to_none() -> None:
    assert pool_rois([np.zeros((5, 4, 4), np.float16)], np.zeros((0, 4)), [8], 7, "roi_pool").shape == (0, 5, 7, 7)


def test_deltas_take_boxes_where_the_detector_says() -> None:
    from pipeline.nn.boxes import decode, encode

    boxes = rois()[:60]
    boxes[:, 2:] += 10  # no size grows by more than the detector lets it
    targets = torch.from_numpy(boxes[::-1].copy())
    deltas = encode(torch.from_numpy(boxes), targets)
    found = decode_targets(deltas.numpy(), boxes)
    np.testing.assert_allclose(found, decode(torch.from_numpy(boxes), deltas).numpy(), atol=1e-3)

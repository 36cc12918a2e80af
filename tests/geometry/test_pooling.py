"""RoIPool and RoIAlign in NumPy against the detector's operators."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision.ops

from pipeline.geometry.pooling import Pooling, pool_rois
from pipeline.nn.operators import roi_pool
from pipeline.nn.roi_pooling import pool_levels
from pipeline.views.stored_anchors import decode_targets
from tests.layouts import one_level


def rois() -> np.ndarray:
    """Inside, at the border, beyond it, thinner than a cell, and on halves of cells."""
    draw = np.random.default_rng(0)
    corners = draw.uniform(-20, 180, (60, 2))
    random = np.concatenate([corners, corners + draw.uniform(0.5, 120, (60, 2))], axis=1)
    chosen = [(0, 0, 160, 96), (4, 4, 12, 12), (20, 36, 20.5, 36.5), (150, 90, 200, 120), (-30, -30, -10, -10)]
    return np.concatenate([random, chosen]).astype(np.float32)


def with_index(boxes: np.ndarray) -> torch.Tensor:
    """Of the only map."""
    return torch.from_numpy(np.concatenate([np.zeros((len(boxes), 1), np.float32), boxes], axis=1))


@pytest.mark.parametrize(("scale", "size"), [(1 / 8, 7), (1 / 16, 7), (1 / 8, 3)])
def test_roi_pool_is_the_detectors(scale: float, size: int) -> None:
    feature_map, boxes = np.random.default_rng(1).normal(size=(5, 12, 20)).astype(np.float32), rois()
    expected = roi_pool(torch.from_numpy(feature_map)[None], with_index(boxes), scale, size)
    found = pool_rois([feature_map], boxes, one_level(round(1 / scale)), Pooling("roi_pool", size))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("samples", [0, 1, 2])
@pytest.mark.parametrize(("scale", "size"), [(1 / 8, 7), (1 / 16, 7), (1 / 8, 3), (1 / 4, 2)])
def test_roi_align_is_torchvisions_and_the_detectors(scale: float, size: int, samples: int, aligned: bool) -> None:
    feature_map, boxes = np.random.default_rng(1).normal(size=(5, 12, 20)).astype(np.float32), rois()
    maps, pooling = torch.from_numpy(feature_map)[None], Pooling("roi_align", size, samples, aligned)
    theirs = torchvision.ops.roi_align(maps, with_index(boxes), size, scale, samples, aligned)
    layout = one_level(round(1 / scale), 5)
    found = pool_rois([feature_map], boxes, layout, pooling)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, theirs.numpy(), atol=1e-4)
    ours = pool_levels([maps], [torch.from_numpy(boxes)], layout, pooling)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-4)


def test_no_rois_are_pooled_to_none() -> None:
    maps, pooling = [np.zeros((5, 4, 4), np.float16)], Pooling("roi_pool", 7)
    assert pool_rois(maps, np.zeros((0, 4)), one_level(8), pooling).shape == (0, 5, 7, 7)


def test_deltas_take_boxes_where_the_detector_says() -> None:
    from pipeline.nn.boxes import decode, encode

    boxes = rois()[:60]
    boxes[:, 2:] += 10  # no size grows by more than the detector lets it
    targets = torch.from_numpy(boxes[::-1].copy())
    deltas = encode(torch.from_numpy(boxes), targets)
    found = decode_targets(deltas.numpy(), boxes)
    np.testing.assert_allclose(found, decode(torch.from_numpy(boxes), deltas).numpy(), atol=1e-3)

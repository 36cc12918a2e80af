"""RoI pooling against plain loops of Caffe's quantisation and of bilinear sampling, and its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.nn.operators import roi_pool
from pipeline.nn.roi_align import roi_align
from pipeline.runtime.seeding import numpy_generator
from tests.fidelity import reference

pytestmark = pytest.mark.authority("Caffe's RoIPool, bilinear sampling, finite differences")

STRIDE, DEPTH, HEIGHT, WIDTH = 16, 3, 11, 14


def random_maps(seed: int) -> np.ndarray:
    """Two maps without equal cells, so that no maximum is tied; negative ones too, so that a 0 would be seen."""
    cells = numpy_generator(seed, "maps").permutation(2 * DEPTH * HEIGHT * WIDTH).astype(np.float64)
    return (cells - cells.mean()).reshape(2, DEPTH, HEIGHT, WIDTH) / 100


def random_rois(seed: int, count: int = 40) -> np.ndarray:
    """(count, 5): map index, then boxes from less than a cell to beyond every edge of the map."""
    draw = numpy_generator(seed, "rois")
    corners = draw.uniform([-40, -40], [WIDTH * STRIDE, HEIGHT * STRIDE], (count, 2))
    sides = np.exp(draw.uniform(np.log(2), np.log(200), (count, 2)))
    return np.concatenate([draw.integers(0, 2, (count, 1)), corners, corners + sides], axis=1)


# Corners at k + 0.5 cells, where C's round() goes away from zero, also below 0; one cell; all of the map; outside.
EDGES = np.array(
    [
        [0, 8, 24, 40, 72],
        [0, -8, -24, 56, 40],
        [1, 30, 30, 31, 31],
        [1, 0, 0, WIDTH * STRIDE, HEIGHT * STRIDE],
        [0, WIDTH * STRIDE + 30, 0, WIDTH * STRIDE + 90, 50],
        [1, 100, HEIGHT * STRIDE - 8, 180, HEIGHT * STRIDE + 60],
    ],
    dtype=np.float64,
)


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("rois", [random_rois(0), random_rois(1), EDGES], ids=["random", "other random", "edges"])
def test_roi_pool_is_caffes_with_corners_rounded_to_cells_and_bins_from_floor_to_ceil(
    rois: np.ndarray, size: int
) -> None:
    """Authority: Caffe's ROIPoolingLayer of Fast R-CNN (section 2.1)."""
    maps = random_maps(0)
    expected = [reference.roi_pool(maps[int(roi[0])], roi[1:], 1 / STRIDE, size) for roi in rois]
    for dtype in (torch.float64, torch.float32):
        pooled = roi_pool(torch.from_numpy(maps).to(dtype), torch.from_numpy(rois).to(dtype), 1 / STRIDE, size)
        np.testing.assert_array_equal(pooled.numpy(), np.array(expected, pooled.numpy().dtype))


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("rois", [random_rois(2), random_rois(3), EDGES], ids=["random", "other random", "edges"])
def test_roi_align_is_the_mean_of_four_bilinear_samples_a_bin(rois: np.ndarray, size: int) -> None:
    """Authority: Mask R-CNN, section 3, with cell centres half a cell from the corner."""
    maps = random_maps(1)
    expected = [reference.roi_align(maps[int(roi[0])], roi[1:], 1 / STRIDE, size) for roi in rois]
    pooled = roi_align(torch.from_numpy(maps), torch.from_numpy(rois), 1 / STRIDE, size)
    np.testing.assert_allclose(pooled.numpy(), expected, rtol=1e-12, atol=1e-12)


def test_roi_align_reads_a_linear_map_exactly_at_the_centres_of_the_bins() -> None:
    """Authority: a linear function is interpolated without error. Column i has its centre at (i + 1/2) strides."""
    column = (np.arange(WIDTH) + 0.5) * STRIDE
    row = (np.arange(HEIGHT) + 0.5) * STRIDE
    maps = np.broadcast_to(column + 1000 * row[:, None], (1, 1, HEIGHT, WIDTH))
    x1, y1, x2, y2 = roi = (37.0, 21.5, 151.0, 140.0)
    size = 5
    x, y = x1 + (np.arange(size) + 0.5) * (x2 - x1) / size, y1 + (np.arange(size) + 0.5) * (y2 - y1) / size
    pooled = roi_align(torch.tensor(maps.copy()), torch.tensor([[0.0, *roi]], dtype=torch.float64), 1 / STRIDE, size)
    np.testing.assert_allclose(pooled[0, 0].numpy(), x + 1000 * y[:, None], rtol=1e-12)


def gradient_input(seed: int) -> tuple[Tensor, Tensor]:
    maps = torch.from_numpy(random_maps(seed))[:, :1, :6, :7].contiguous().requires_grad_()
    return maps, torch.from_numpy(np.concatenate([random_rois(seed, count=5), EDGES[:3]]))


@pytest.mark.parametrize("pool", [roi_pool, roi_align])
def test_gradients_of_the_pooling_are_those_of_finite_differences(pool: object) -> None:
    """Authority: central differences. No two cells are closer than 0.01, so a step of 1e-4 changes no maximum."""
    maps, rois = gradient_input(4)
    assert callable(pool)
    assert torch.autograd.gradcheck(lambda m: pool(m, rois, 1 / STRIDE, 3), (maps,), eps=1e-4)
    (gradient,) = torch.autograd.grad(pool(maps, rois, 1 / STRIDE, 3).sum(), maps)
    assert bool(gradient.any())


def test_the_gradient_of_roi_pool_goes_to_the_cell_of_the_maximum_alone() -> None:
    """Authority: Fast R-CNN, equation 4 (the argmax switches), summed over the RoIs that share a cell."""
    maps = torch.from_numpy(random_maps(5)).requires_grad_()
    rois = random_rois(5, count=12)
    pooled = roi_pool(maps, torch.from_numpy(rois), 1 / STRIDE, 3)
    (gradient,) = torch.autograd.grad(pooled.sum(), maps)
    values = maps.detach().numpy()
    times = np.zeros_like(values)
    for roi in rois:
        image = values[int(roi[0])]
        for depth, value in zip(
            np.repeat(range(DEPTH), 9), reference.roi_pool(image, roi[1:], 1 / STRIDE, 3).ravel(), strict=True
        ):
            times[int(roi[0]), depth] += image[depth] == value  # an empty bin is 0, which no cell is
    np.testing.assert_array_equal(gradient.numpy(), times)

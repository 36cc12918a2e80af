"""The sizes that are computed from shapes are those that the stages write."""

from __future__ import annotations

import pytest

from benchmarks.sizes import (
    FPN_AT_800,
    VGG16_AT_600,
    bg_bits,
    largest_map,
    maps,
    objectness,
    one_map,
    outputs,
    pixels,
    size_text,
)
from tests.conftest import Project

TINY_192 = one_map(192, 192, stride=8, channels=96, anchors=12, proposals=50)
TRAIN, TEST = 12, 6


def written(run: Project, pattern: str) -> int:
    return sum(path.stat().st_size for path in run.data.glob(pattern))


@pytest.mark.long
def test_arrays_are_as_large_as_computed(tiny_run: Project) -> None:
    assert written(tiny_run, "resize/*.npz") == pytest.approx((TRAIN + TEST) * pixels(TINY_192), rel=0.001)
    assert written(tiny_run, "features/*.npz") == pytest.approx(TRAIN * maps(TINY_192), rel=0.001)
    assert written(tiny_run, "anchor_targets/*.npz") == pytest.approx(TRAIN * bg_bits(TINY_192), rel=0.02)
    assert written(tiny_run, "proposals_step1/*.npz") == pytest.approx(TRAIN * objectness(TINY_192), rel=0.02)


def test_vgg16s_maps_of_voc07_and_their_mirrors_take_19_gb() -> None:
    assert size_text(5_011 * maps(VGG16_AT_600)) == "19.0 GB"
    assert maps(VGG16_AT_600) > 0.6 * sum(outputs(VGG16_AT_600).values())


def test_a_pyramids_maps_of_an_image_are_of_five_levels() -> None:
    cells = 200 * 272 + 100 * 136 + 50 * 68 + 25 * 34 + 13 * 17  # 1,067 px are padded to 1,088
    assert (FPN_AT_800.cells, FPN_AT_800.anchors) == (cells, 3 * cells)
    assert maps(FPN_AT_800) == 2 * (cells * 256 * 2 + 5 * 264)
    assert largest_map(FPN_AT_800) == 2 * (200 * 272 * 256 * 2 + 264)


@pytest.mark.parametrize(
    ("size", "expected"), [(264, "264 bytes"), (1_440_264, "1.4 MB"), (448.2e9, "448 GB"), (5e15, "5000 TB")]
)
def test_sizes_are_in_decimal_units(size: float, expected: str) -> None:
    assert size_text(size) == expected

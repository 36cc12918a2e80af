"""The sizes that are computed from shapes are those that the stages write."""

from __future__ import annotations

import pytest

from benchmarks.sizes import VGG16_AT_600, Shape, bg_bits, maps, objectness, outputs, pixels, size_text
from tests.conftest import Project

TINY_192 = Shape(192, 192, 24, 24, 96, 12, 50)
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


@pytest.mark.parametrize(
    ("size", "expected"), [(264, "264 bytes"), (1_440_264, "1.4 MB"), (448.2e9, "448 GB"), (5e15, "5000 TB")]
)
def test_sizes_are_told_in_decimal_units(size: float, expected: str) -> None:
    assert size_text(size) == expected

"""Anchors have the areas, ratios and places that were asked for, in the order of an RPN's output."""

from __future__ import annotations

import itertools
import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.nn.anchors import AnchorGrid, KeptAnchors, base_anchors, inside
from tests.layouts import one_level

lengths = st.lists(st.floats(0.1, 40), min_size=1, max_size=4)


@given(st.floats(1, 64), lengths, lengths)
def test_an_anchor_has_its_scales_area_and_its_ratios_height_over_width(
    base_size: float, ratios: list[float], scales: list[float]
) -> None:
    anchors = base_anchors(base_size, ratios, scales)
    assert anchors.shape == (len(ratios) * len(scales), 4)
    for (x1, y1, x2, y2), (ratio, scale) in zip(anchors.tolist(), itertools.product(ratios, scales), strict=True):
        assert math.isclose((x2 - x1) * (y2 - y1), (base_size * scale) ** 2, rel_tol=1e-12)
        assert math.isclose((y2 - y1) / (x2 - x1), ratio, rel_tol=1e-12)
        assert x1 == -x2 and y1 == -y2


def test_order_is_y_then_x_then_ratio_then_scale_with_centres_at_half_a_stride() -> None:
    ratios, scales, stride = (0.5, 2.0), (1.0, 2.0, 4.0), 16
    expected = [
        ((x + 0.5) * stride, (y + 0.5) * stride, ratio, (16 * scale) ** 2)
        for y, x, ratio, scale in itertools.product(range(3), range(5), ratios, scales)
    ]
    anchors = AnchorGrid(16, ratios, scales, one_level(stride)).exact([(3, 5)])
    width, height = anchors[:, 2] - anchors[:, 0], anchors[:, 3] - anchors[:, 1]
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2
    found = torch.stack([centre[:, 0], centre[:, 1], height / width, width * height], dim=1)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_float32_anchors_are_the_exact_ones_rounded_once() -> None:
    grid = AnchorGrid(16, (0.5, 1.0, 2.0), (8.0, 16.0), one_level(16))
    assert grid.per_location == 6
    assert grid.exact([(4, 7)]).dtype == torch.float64
    assert grid([(4, 7)]).dtype == torch.float32
    assert torch.equal(grid([(4, 7)]), grid.exact([(4, 7)]).to(torch.float32))


def test_inside_counts_anchors_that_touch_the_border_and_takes_the_border_on_all_four_sides() -> None:
    image = torch.tensor([[0.0, 0, 20, 10]])
    moved = [(0, 0, 0, 0), (-1, 0, 0, 0), (0, -1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (-1, -1, 1, 1), (-2, 0, 0, 0)]
    anchors = image + torch.tensor(moved)
    assert inside(anchors, 10, 20).tolist() == [True, *[False] * 6]
    assert inside(anchors, 10, 20, border=1).tolist() == [*[True] * 6, False]


def test_kept_anchors_are_the_grids_whatever_was_asked_for_before_and_are_made_once() -> None:
    grid = AnchorGrid(16, (0.5, 1.0, 2.0), (1.25, 8.0), one_level(16))
    kept, made = KeptAnchors(grid), []
    grid.of_level = lambda *key, of=grid.of_level: (made.append(key[1:3]), of(*key))[1]  # type: ignore[method-assign]
    cpu = torch.device("cpu")
    for size in ((3, 7), (5, 2), (5, 7), (1, 1), (4, 6)):
        own = kept([size], cpu)
        assert torch.equal(own, AnchorGrid(16, (0.5, 1.0, 2.0), (1.25, 8.0), one_level(16))([size]))
    assert made == [(3, 7), (5, 7)]

"""Prints are compared exactly, so that no processor's order of sums decides what is nearly equal."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipeline.datasets.splitting.photo_prints import nearly_equal, print_of
from tests.datasets.splitting.undivided import photo


def test_the_order_of_the_pixels_changes_no_print_and_no_product(tmp_path: Path) -> None:
    first = cv2.cvtColor(photo(0, 16), cv2.COLOR_BGR2GRAY)
    prints = []
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(256)
        cv2.imwrite(str(tmp_path / "photo.png"), first.ravel()[order].reshape(16, 16))
        own = print_of(tmp_path / "photo.png")
        assert own is not None
        prints.append(own[np.argsort(order)])
    assert all((own == prints[0]).all() for own in prints)
    assert (prints[0] == prints[0].astype(int)).all()
    assert abs(float(prints[0] @ prints[0]) - 4000**2) < 1e-4 * 4000**2


def test_products_at_the_limit_are_alike_and_one_below_are_not() -> None:
    one, other = np.zeros((2, 256), np.float32)
    one[0], one[1] = 4000, 1
    other[0] = 3800
    assert nearly_equal([one, other]) == [[0, 1]]
    other[0], other[1] = 3799, 3999
    assert float(one @ other) == 15_199_999
    assert nearly_equal([one, other]) == []

"""What a family says of an image's locations is checked before it is stored."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.dense.assignment import Assignment, Truth, assign
from pipeline.geometry.points import Grid
from pipeline.runtime.errors import InputError

GRID = Grid((8,), ((1, 3),), (1,))
TRUTH = Truth(np.array([[0, 0, 8, 8], [8, 0, 16, 8]], np.float32), np.array([2, 1]), np.zeros((0, 4), np.float32))
RIGHT = Assignment(np.array([2, -1, 0]), np.array([0, 7, -1]), np.array([1, 0, 0], np.float32))


def assigned(own: Assignment) -> Assignment:
    part: Any = SimpleNamespace(assign=lambda *given: own, __name__="pipeline.families.odd.dense_targets")
    params: Any = None
    return assign(part, TRUTH, GRID, (8, 24), params)


def test_one_that_fits_is_taken_whatever_it_says_of_locations_without_a_class() -> None:
    assert assigned(RIGHT) is RIGHT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [2, -1, 0]}, "labels of list, no array of integers"),
        ({"labels": np.array([2.0, -1, 0])}, "labels of float64, no array of integers"),
        ({"labels": np.array([True, False, False])}, "labels of bool, no array of integers"),
        ({"matched_gt": np.array([0.5, 0, 0])}, "matched_gt of float64, no array of integers"),
        ({"quality": None}, "quality of NoneType, no array of floats"),
        ({"quality": np.array([1, 0, 0])}, "quality of int64, no array of floats"),
        ({"quality": np.array([np.nan, 0, 0])}, "a quality outside of 0 to 1"),
        ({"quality": np.array([1.5, 0, 0])}, "a quality outside of 0 to 1"),
        ({"labels": np.array([2, 0])}, r"labels of shape \(2,\) for 3 locations"),
        ({"quality": np.zeros((3, 1))}, r"quality of shape \(3, 1\) for 3 locations"),
        ({"matched_gt": np.array([2, 0, 0])}, "a matched_gt of 2 or 2 where there are 2 gt boxes"),
        ({"matched_gt": np.array([-1, 0, 0])}, "a matched_gt of -1"),
        ({"labels": np.array([1, 0, 0])}, "a label that is not its gt box's class, 0 or -1"),
        ({"labels": np.array([2, -2, 0])}, "a label that is not its gt box's class, 0 or -1"),
    ],
)
def test_one_that_does_not_fit_is_told_with_the_module_that_made_it(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"^pipeline\.families\.odd\.dense_targets: assign gave {message}"):
        assigned(replace(RIGHT, **change))


@pytest.mark.parametrize(("own", "message"), [(None, "None"), ((1, 2, 3), "a tuple")])
def test_what_is_no_assignment_is_told(own: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"odd\.dense_targets: assign gave {message}, no Assignment; correct it$"):
        assigned(own)

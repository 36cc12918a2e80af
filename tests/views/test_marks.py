"""Colours of values."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.families.faster_rcnn.panels.proposals import rank_colours
from pipeline.views.marks import colour_ramp


@pytest.mark.parametrize("shape", [(0,), (0, 3), (5,), (2, 3)])
def test_values_of_any_shape_have_a_colour_each(shape: tuple[int, ...]) -> None:
    assert colour_ramp(np.full(shape, 0.5)).shape == (*shape, 3)


def test_an_image_without_a_proposal_has_no_rank_colours() -> None:
    assert [len(rank_colours(count)) for count in (0, 1, 5)] == [0, 1, 5]

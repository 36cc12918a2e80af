"""Figures in messages."""

from __future__ import annotations

import math

import pytest

from pipeline.runtime.words import figure_text


@pytest.mark.parametrize(("value", "text"), [(0.12345, "0.123"), (0.0, "0.000"), (math.nan, "-"), (-1.0, "-")])
def test_a_figure_that_does_not_exist_is_a_dash(value: float, text: str) -> None:
    assert figure_text(value) == text


def test_a_figure_has_the_decimals_asked_for() -> None:
    assert figure_text(0.12345, 4) == "0.1235"

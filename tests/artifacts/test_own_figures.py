"""What a family may add to metrics.json."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pipeline.artifacts.own_figures import own_figures
from pipeline.runtime.errors import InputError

FILE = "pipeline/families/points/evaluate.py"


def test_numbers_of_numpy_become_pythons() -> None:
    given = {"a": np.float32(0.5), "b": np.int64(3), "c": np.float64("nan"), "d": 2, "e": 0.25}
    own = own_figures(given, {"AP"}, FILE)
    assert {name: type(value) for name, value in own.items()} == {
        "a": float,
        "b": int,
        "c": float,
        "d": int,
        "e": float,
    }
    assert math.isnan(own.pop("c")) and json.loads(json.dumps(own)) == {"a": 0.5, "b": 3, "d": 2, "e": 0.25}


@pytest.mark.parametrize("name", ["AP", "images", "detections"])
def test_a_name_of_the_common_figures_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=rf"^{FILE}: figure '{name}' is one that all families have; give it another"):
        own_figures({name: 0.5}, {"AP"}, FILE)


@pytest.mark.parametrize("value", [{"x": 1.0}, "0.5", None, True, np.bool_(True), 1j, np.zeros(1), [0.5]])
def test_what_is_no_real_number_is_refused(value: object) -> None:
    kind = type(value).__name__
    with pytest.raises(InputError, match=rf"^{FILE}: figure 'a' is a {kind}; return a number, NaN where there is none"):
        own_figures({"a": value}, {"AP"}, FILE)


@pytest.mark.parametrize(
    ("figures", "what"), [(None, "returned a NoneType; return a dict"), ({1: 0.5}, "has the key 1, which is not text")]
)
def test_what_is_no_mapping_by_name_is_refused(figures: object, what: str) -> None:
    with pytest.raises(InputError, match=f"^{FILE}: figures {what}"):
        own_figures(figures, {"AP"}, FILE)

"""How often a coordinator looks at a run, and what it repeats of its log."""

from __future__ import annotations

import pytest

from pipeline.workers.asking import _is_prefects_own, _seconds_to_next_look


@pytest.mark.parametrize(("lasting", "seconds"), [(0.0, 0.25), (10.0, 0.25), (20.0, 0.5), (40.0, 1.0), (3600.0, 1.0)])
def test_looks_are_fewer_the_longer_a_run_lasts(lasting: float, seconds: float) -> None:
    assert _seconds_to_next_look(lasting) == seconds


@pytest.mark.parametrize(
    ("message", "is_own"),
    [
        ("Beginning flow run 'dataset' for flow 'stage'", True),
        ("dataset: 12 train and 6 test images", False),
        (
            "Engine exited\nTraceback (most recent call last):\n  x\nprefect.exceptions.FailedRun: dataset: no photo",
            True,
        ),
        ("Engine exited\nTraceback (most recent call last):\n  x\nKeyError: 'a fault of the code'", False),
    ],
)
def test_a_traceback_of_a_stage_that_failed_in_one_line_is_not_repeated(message: str, is_own: bool) -> None:
    assert _is_prefects_own(message) is is_own

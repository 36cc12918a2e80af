"""How often a coordinator looks at a run."""

from __future__ import annotations

import pytest

from pipeline.workers.asking import _seconds_to_next_look


@pytest.mark.parametrize(("lasting", "seconds"), [(0.0, 0.25), (10.0, 0.25), (20.0, 0.5), (40.0, 1.0), (3600.0, 1.0)])
def test_looks_are_fewer_the_longer_a_run_lasts(lasting: float, seconds: float) -> None:
    assert _seconds_to_next_look(lasting) == seconds

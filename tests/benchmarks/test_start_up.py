"""Stages that compute without torch do not wait for it."""

from __future__ import annotations

import pytest

from benchmarks.start_up import loads_torch, stage_modules


def test_every_stage_has_a_module() -> None:
    assert len(stage_modules()) == 21


@pytest.mark.parametrize("module", ["stages.dataset", "stages.resize", "stages.evaluate"])
def test_stages_that_need_no_torch_do_not_load_it(module: str) -> None:
    assert module in stage_modules().values()
    assert not loads_torch(module)

from __future__ import annotations

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from hypothesis import settings

# The same examples on every run, none of them failed for being slow on a busy machine.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("repeatable")


@pytest.fixture
def accelerator() -> Accelerator:
    """Plain float32 on the CPU, whatever earlier tests set up."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision="no", cpu=True)

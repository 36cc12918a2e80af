from __future__ import annotations

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState


@pytest.fixture
def accelerator() -> Accelerator:
    """Plain float32 on the CPU, whatever earlier tests set up."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision="no", cpu=True)

"""Hypothesis draws the same examples on every run, and no example is failed for being slow on a busy machine."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.parity import comparison

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("repeatable")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detections pair up within the tolerances of ONNX."""
    monkeypatch.setattr(comparison, "SCORE_TOLERANCE", 1e-4)
    monkeypatch.setattr(comparison, "BOX_TOLERANCE", 1e-2)

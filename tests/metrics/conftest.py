from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def ap_reference() -> Path:
    """Boxes and detections whose AP other implementations have measured."""
    folder = Path(__file__).parents[3] / "shared" / "data" / "ap_reference"
    if not folder.is_dir():
        pytest.skip("the reference detections in ../shared/data/ap_reference are not here")
    return folder

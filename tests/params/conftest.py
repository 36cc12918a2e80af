"""Parameters to check."""

from __future__ import annotations

import pytest
import yaml

from tests.params.checking import COMMITTED, Content


@pytest.fixture
def content() -> Content:
    """The committed params.yaml, to be spoiled."""
    return dict(yaml.safe_load(COMMITTED.read_text(encoding="utf-8")))

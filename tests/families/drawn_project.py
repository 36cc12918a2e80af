"""A run of the made-up family `points` whose training draws its images, in the tests' process."""

from __future__ import annotations

from typing import Any

from tests.conftest import TINY
from tests.families.points_project import POINTS_TINY

SSD: dict[str, Any] = {
    "photometric": {"probability": 0.5},
    "expand": {"probability": 0.5},
    "crop": {"min_iou": ["whole", 0.1, 0.3, 0.5, 0.7, 0.9, "any"]},
    "flip": 0.5,
}
"""What SSD draws, over the defaults of the section."""

DRAWN_TINY: dict[str, Any] = {
    **POINTS_TINY,
    "base": {**TINY["base"], "mirror": False},
    "backbone": {"weights": "random"},
    "augment": SSD,
}
"""A run of seconds."""

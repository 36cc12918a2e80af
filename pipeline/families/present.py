"""The family of the graph that dvc.yaml holds."""

from __future__ import annotations

from pipeline.families.family import Family
from pipeline.families.faster_rcnn.family import FASTER_RCNN


def present_family() -> Family:
    """The family of detectors that the project trains."""
    return FASTER_RCNN

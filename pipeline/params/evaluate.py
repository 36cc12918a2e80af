"""The block `evaluate` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pipeline.params.section import Count, Fraction, Section


class EvaluateParams(Section):
    """Which images are judged, and which of their detections: the same for every family, so that figures of several
    can be compared."""

    split: Literal["val", "test"]
    score_threshold: Fraction
    per_image: Count
    confusion_score: Fraction

"""The block `evaluate` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pipeline.params.section import Count, Fraction, Section


class EvaluateParams(Section):
    """Which images are judged, how many of their proposals `proposal_recall50` counts, which detections the errors."""

    split: Literal["val", "test"]
    recall_proposals: Count
    confusion_score: Fraction

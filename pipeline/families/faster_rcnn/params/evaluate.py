"""The block `evaluate` of params.yaml, for a family that proposes."""

from __future__ import annotations

from pipeline.params.evaluate import EvaluateParams
from pipeline.params.section import Count


class RecallParams(EvaluateParams):
    """Adds the number of proposals per image that `proposal_recall50` counts."""

    recall_proposals: Count

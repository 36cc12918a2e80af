"""The block `detect` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.params.section import Count, Fraction, ImagesAtOnce, NonNegative, PreNms, Section


class DetectParams(Section):
    """Test-time proposals and detections; `recall_ranks` proposals are written for the recall curves."""

    pre_nms: PreNms
    proposal_nms_iou: Fraction
    proposals: Count
    recall_ranks: Annotated[int, Field(gt=0, le=2000)]
    min_size: NonNegative
    cut_first: bool = False
    score_threshold: Fraction
    nms_iou: Fraction
    per_image: Count
    images_at_once: ImagesAtOnce = 1  # earlier parameters lack it

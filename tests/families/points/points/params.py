"""The family's blocks of params.yaml."""

from __future__ import annotations

from pipeline.params.section import Count, Fraction, Overlap, Positive, Section


class PointsParams(Section):
    """The head, and which points are to find an object."""

    channels: Count
    radius: Positive
    largest_side: list[Positive]
    focal_alpha: Fraction
    focal_gamma: Positive
    box_loss_weight: Positive


class DetectPointsParams(Section):
    """What becomes a detection."""

    score_threshold: Fraction
    per_level: Count
    nms_iou: Overlap
    per_image: Count

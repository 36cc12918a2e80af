"""What the family declares."""

from __future__ import annotations

from pipeline.families.points.params import DetectPointsParams, PointsParams

from pipeline.families.family import Family, Network
from pipeline.params.augment import AugmentParams
from pipeline.params.schedule import Schedule

FAMILY = Family(
    name="points",
    title="Points",
    sections={
        "points": PointsParams,
        "augment": AugmentParams,
        "train_points": Schedule,
        "detect_points": DetectPointsParams,
    },
    networks={
        "points": Network(
            "points", "Trunk and head trained together.", {"trunk": "train_points", "head": "train_points"}
        )
    },
    judged="points",
    training={"train_points": "Trunk and head together"},
)

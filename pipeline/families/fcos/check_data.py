"""What the stages ask of a data set: what all trainings ask. Box sizes are shown beside the levels' cells."""

from __future__ import annotations

from pipeline.preflight.family_checks import FamilyChecks

CHECKS = FamilyChecks(prepares=("fcos_targets",))

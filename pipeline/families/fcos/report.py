"""What is added to the report: titles of the losses, and words on training."""

from __future__ import annotations

from pipeline.report.family_report import FamilyReport

REPORT = FamilyReport(
    leads={
        "stages": "Trunk and head are trained together, on all locations of every level at once; there are no anchors.",
        "training": "The class loss counts all locations that are not ignored, those of boxes and of centre-ness the "
        "locations that are to find an object; all are divided by the number of the latter.",
    },
    losses={"fcos_class": "class", "fcos_box": "box", "fcos_centreness": "centre-ness"},
)

"""What is added to the report: titles of the losses, and words on training."""

from __future__ import annotations

from pipeline.report.family_report import FamilyReport

REPORT = FamilyReport(
    leads={
        "stages": "Trunk and head are trained together, on the default boxes of every level at once.",
        "training": "The class loss counts the default boxes that are to find an object and of each image the hardest "
        "others, ssd.negatives times as many; the box loss counts the first alone. Both are divided by their number.",
    },
    losses={"ssd_class": "class", "ssd_box": "box"},
)

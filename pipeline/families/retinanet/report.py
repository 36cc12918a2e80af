"""What is added to the report: titles of the losses, and words on training."""

from __future__ import annotations

from pipeline.report.family_report import FamilyReport

REPORT = FamilyReport(
    leads={
        "data": "A box that no anchor reaches at an IoU of retinanet.fg_iou is left to its best anchors.",
        "stages": "Trunk and head are trained together, on all anchors of every level at once; none are drawn.",
        "training": "The focal loss counts all anchors that are not ignored, the box loss fg anchors only; both are "
        "divided by a number of fg anchors.",
    },
    losses={"retinanet_class": "class", "retinanet_box": "box"},
)

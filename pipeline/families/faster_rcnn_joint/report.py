"""Additions to the report: Faster R-CNN's sections, and words on end-to-end training."""

from pipeline.families.faster_rcnn.report import BEFORE_DETECTION, DATA, FIGURES, LOSSES, SECTIONS, TARGETS
from pipeline.families.faster_rcnn.report.journey import before_detection
from pipeline.report.family_report import FamilyReport

REPORT = FamilyReport(
    sections=SECTIONS,
    leads={
        "stages": "Trunk, region proposal network (RPN) and RoI head are trained together, from the first iteration.",
        "training": "All four losses are summed. Box losses count fg anchors and fg RoIs only.",
        "data": DATA,
        "detections": "Better proposals help against missed boxes, too.",
        "images": BEFORE_DETECTION,
    },
    figures=FIGURES,
    losses=LOSSES,
    training_stages=TARGETS,
    before_detection=before_detection("train_end_to_end"),
)

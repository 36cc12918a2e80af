"""Panels of the detect stages: what the RPN proposes, and how the head classifies it."""

from __future__ import annotations

from pipeline.artifacts.proposals import StoredProposals
from pipeline.families.faster_rcnn.panels.objectness import objectness_panels
from pipeline.families.faster_rcnn.panels.proposals import rank_panel
from pipeline.views.contact_sheet import Tile
from pipeline.views.panels.detections import error_panels
from pipeline.views.panels.judged import judged_detections
from pipeline.views.panels.request import PanelRequest


def detect_panels(request: PanelRequest) -> list[Tile]:
    """Objectness, the classified proposals, the gt, and the detections by kind; in brief the last two."""
    pixels, judged = request.images.pixels(request.entry), judged_detections(request)
    if request.brief:
        return error_panels(request, pixels, judged)
    proposals, gt = StoredProposals(request.folder)[request.entry], judged.gt.trainable
    return [
        *objectness_panels(request, pixels, gt.boxes),
        rank_panel(request, pixels, gt.boxes, proposals, request.params.detect.proposals),
        *error_panels(request, pixels, judged),
    ]

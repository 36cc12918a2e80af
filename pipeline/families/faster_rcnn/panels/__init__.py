"""How Faster R-CNN's own stages are drawn, by the stage's module: `PANELS`, and `DRAWN`, the samples of trainings."""

from pipeline.families.faster_rcnn.panels.detections import detect_panels
from pipeline.families.faster_rcnn.panels.drawn_samples import ANCHORS, JOINT, ROIS
from pipeline.families.faster_rcnn.panels.proposals import proposal_panels
from pipeline.families.faster_rcnn.panels.roi_targets import target_panels
from pipeline.views.panels.anchors import anchor_panels
from pipeline.views.panels.image_panels import HELD_OUT, ImagePanels

PANELS = {
    "anchor_targets": ImagePanels(anchor_panels),
    "proposals": ImagePanels(proposal_panels),
    "proposal_targets": ImagePanels(target_panels),
    "detect": ImagePanels(detect_panels, HELD_OUT, plain=True),
}

DRAWN = {"train_rpn": ANCHORS, "train_head": ROIS, "finetune_joint": JOINT}

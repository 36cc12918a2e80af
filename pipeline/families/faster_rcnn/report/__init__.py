"""What Faster R-CNN adds to the report: `REPORT`."""

from pipeline.families.faster_rcnn.report.journey import before_detection
from pipeline.families.faster_rcnn.report.proposals_section import proposals_section
from pipeline.metrics.recall import SIZES
from pipeline.report.family_report import FamilyReport, OwnSection

TARGETS = {
    "resize": "What the network sees.",
    "anchor_targets": "Anchor targets. An anchor near a gt box is fg: it is trained to predict an object and to move "
    "onto the box. An anchor far from all boxes is bg: it is trained to predict no object. The rest are ignored.",
}
"""What is drawn of training images, to a sentence: what all trainings start from."""

DATA = (
    "A box that no anchor reaches at an IoU of anchor_targets.fg_iou is left to its best anchors; below .5 even "
    "these are a poor start."
)
SECTIONS = (OwnSection("proposals", "Proposals", proposals_section),)
BEFORE_DETECTION = (
    "What comes before detection: the anchors, the feature maps, the RPN's objectness, and its proposals."
)
FIGURES = {
    "proposal_recall50": "recall of the proposals at IoU .5",
    **{f"proposal_recall50_{size}": f"recall, {size} boxes" for size in SIZES},
}
LOSSES = {
    "rpn_objectness": "objectness (object or not, of anchors)",
    "rpn_box": "anchor deltas",
    "roi_class": "class of RoIs",
    "roi_box": "RoI deltas",
}

_TRAINING_STAGES = {
    **TARGETS,
    "features": "The feature maps of the trunk, which RPN and head both read.",
    "proposals_step3": "Where the RPN sees objects, and its best proposals.",
    "proposal_targets_step4": "The class that the head must predict for each proposal, and where it must move it.",
}

REPORT = FamilyReport(
    sections=SECTIONS,
    leads={
        "summary": "Step 2 classifies step 1's proposals with a trunk of its own; step 4 shares one trunk between the "
        "RPN and the head; joint continues from there and trains all parts with all losses at once.",
        "stages": "Step 1 trains the region proposal network (RPN), step 2 a RoI head on its proposals, both from the "
        "pre-trained trunk; steps 3 and 4 train both again on step 2's trunk, which they share.",
        "training": "Box losses count fg anchors and fg RoIs only. In steps 3 and 4 the trunk is frozen, so an "
        "iteration takes a fraction of the time.",
        "data": DATA,
        "detections": "Better proposals help against missed boxes, too.",
        "images": BEFORE_DETECTION,
    },
    figures=FIGURES,
    losses=LOSSES,
    training_stages=_TRAINING_STAGES,
    before_detection=before_detection("train_head_step2"),  # which step 4 shares
)

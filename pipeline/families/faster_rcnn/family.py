"""What Faster R-CNN declares: the networks of its four steps and of joint training."""

from __future__ import annotations

from pipeline.families.family import Family, Network
from pipeline.families.faster_rcnn.params.anchor_targets import AnchorTargetParams
from pipeline.families.faster_rcnn.params.detect import DetectParams
from pipeline.families.faster_rcnn.params.evaluate import RecallParams
from pipeline.families.faster_rcnn.params.features import FeatureParams
from pipeline.families.faster_rcnn.params.finetune_joint import JointParams
from pipeline.families.faster_rcnn.params.head_checks import check_head
from pipeline.families.faster_rcnn.params.proposal_targets import ProposalTargetParams
from pipeline.families.faster_rcnn.params.proposals import ProposalParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.families.faster_rcnn.params.train_head_step4 import HeadStep4
from pipeline.families.faster_rcnn.params.train_rpn_step3 import RPNStep3
from pipeline.params.anchors import AnchorParams
from pipeline.params.depth_checks import check_one_depth
from pipeline.params.resize import check_pixels_are_kept
from pipeline.params.schedule import Schedule

FAMILY = Family(
    name="faster_rcnn",
    title="Faster R-CNN",
    sections={
        "anchors": AnchorParams,
        "anchor_targets": AnchorTargetParams,
        "rpn": RPNParams,
        "proposals": ProposalParams,
        "proposal_targets": ProposalTargetParams,
        "roi_head": RoIHeadParams,
        "features": FeatureParams,
        "train_rpn_step1": Schedule,
        "train_head_step2": Schedule,
        "train_rpn_step3": RPNStep3,
        "train_head_step4": HeadStep4,
        "finetune_joint": JointParams,
        "detect": DetectParams,
        "evaluate": RecallParams,
    },
    networks={
        "step2": Network("step 2 (unshared)", "Step 2: step 1 proposes, a head with a trunk of its own classifies."),
        "step4": Network(
            "step 4 (shared)",
            "Step 4: RPN and head share one trunk.",
            {"trunk": "train_head_step2", "rpn": "train_rpn_step3", "head": "train_head_step4"},
        ),
        "joint": Network(
            "joint",
            "Joint: trunk, RPN and head trained together.",
            {"trunk": "finetune_joint", "rpn": "finetune_joint", "head": "finetune_joint"},
        ),
    },
    judged="step4",
    training={
        "train_rpn_step1": "Step 1: the RPN, with a trunk of its own",
        "train_head_step2": "Step 2: the RoI head, with a trunk of its own",
        "train_rpn_step3": "Step 3: the RPN again, on step 2's maps",
        "train_head_step4": "Step 4: the RoI head again, on the same maps",
        "finetune_joint": "Joint: trunk, RPN and head together",
    },
    checks=(check_one_depth, check_head, check_pixels_are_kept),
)

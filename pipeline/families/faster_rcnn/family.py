"""What Faster R-CNN declares: the networks of its four steps and of joint training."""

from __future__ import annotations

from pipeline.families.family import Family, Network

FASTER_RCNN = Family(
    name="faster_rcnn",
    title="Faster R-CNN",
    networks={
        "step2": Network("step 2 (unshared)", "Step 2: step 1 proposes, a head with a trunk of its own classifies."),
        "step4": Network(
            "step 4 (shared)",
            "Step 4: RPN and head share one trunk.",
            {"trunk": "train_head_step2", "rpn": "train_rpn_step3", "head": "train_head_step4"},
        ),
        "joint": Network(
            "joint",
            "Joint: all trained on together.",
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
)

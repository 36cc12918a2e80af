"""Train trunk, RPN and RoI head together with all four losses, with fresh proposals in each iteration.

Starts from the network of the four steps, or from the pre-trained trunk with fresh heads. Writes model.safetensors with
all three parts and history.csv.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.artifacts.classes import read_classes
from pipeline.building.trunk import load_trunk
from pipeline.families.faster_rcnn.building.class_rows import take_class_rows
from pipeline.families.faster_rcnn.building.roi_head import load_head, pretrained_head
from pipeline.families.faster_rcnn.building.rpn import initial_rpn, load_rpn
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.families.faster_rcnn.params.finetune_joint import JointParams
from pipeline.families.faster_rcnn.params.proposal_targets import ProposalTargetParams
from pipeline.families.faster_rcnn.params.proposals import ProposalParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.families.faster_rcnn.training.joint_run import train_jointly
from pipeline.params.anchors import AnchorParams
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.params.solver import SolverParams
from pipeline.runtime.launcher import launch
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.torch_seeding import torch_generator


def finetune_joint(stage: Stage) -> None:
    """Joint ("end to end") training as in py-faster-rcnn: no gradient passes through the proposals' coordinates."""
    params, schedule, seed = typed(stage.params), typed(stage.params).finetune_joint, stage.params.base.seed
    accelerator = launch(params.base, params.roi_head.pool)
    trunk = load_trunk(_trunk_folder(stage), params.backbone)
    head = load_head(stage.input("head"), trunk.layout, params.roi_head, params.backbone)
    if schedule.init == "step4":
        rpn = load_rpn(stage.input("rpn"), trunk.layout, params.anchors, params.rpn)
    else:
        generator = torch_generator(seed, stage.name, "rpn")
        rpn = initial_rpn(stage.input("backbone"), trunk.layout, params.anchors, params.rpn, generator)
        # Of step 4's head the normalisation alone is taken: it may be measured of these classes.
        trained, generator = head, torch_generator(seed, stage.name, "head")
        head = pretrained_head(
            stage.input("backbone"), trunk.layout, trained.num_classes, params.roi_head, params.backbone, generator
        )
        head.delta_mean.copy_(trained.delta_mean)
        head.delta_std.copy_(trained.delta_std)
        line = take_class_rows(head, stage.input("backbone"), read_classes(stage.input("resize")))
        if line is not None:
            stage.log(line)
    proposals = params.proposals
    rule = ProposalRule(schedule.pre_nms, proposals.nms_iou, schedule.post_nms, proposals.min_size, proposals.cut_first)
    train_jointly(stage, (trunk, rpn, head), rule, schedule, accelerator)


def _trunk_folder(stage: Stage) -> Path:
    return stage.input("trunk" if typed(stage.params).finetune_joint.init == "step4" else "backbone")


if __name__ == "__main__":
    run_stage(
        finetune_joint,
        about=__doc__,
        sections={
            "base": Base,
            "backbone": BackboneParams,
            "anchors": AnchorParams,
            "rpn": RPNParams,
            "proposals": ProposalParams,
            "proposal_targets": ProposalTargetParams,
            "roi_head": RoIHeadParams,
            "solver": SolverParams,
            "finetune_joint": JointParams,
        },
        inputs={
            "resize": "folder of the resize stage",
            "frozen_features": "folder of the frozen_features stage",
            "anchor_targets": "folder of the anchor_targets stage",
            "backbone": "folder of the backbone stage",
            "trunk": "folder of train_head_step2",
            "rpn": "folder of train_rpn_step3",
            "head": "folder of train_head_step4",
        },
    )

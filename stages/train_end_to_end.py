"""Train trunk, RPN and RoI head together from the first iteration, with all four losses.

Starts from the pre-trained trunk with fresh heads, or from a trained detector. Proposals are computed in
each iteration. Writes model.safetensors with all three parts and history.csv.
"""

from __future__ import annotations

import torch

from pipeline.artifacts.classes import read_classes
from pipeline.building.trunk import load_trunk
from pipeline.families.faster_rcnn.building.class_rows import take_class_rows
from pipeline.families.faster_rcnn.building.roi_head import pretrained_head
from pipeline.families.faster_rcnn.building.rpn import initial_rpn
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.params.proposal_targets import RoITargetParams
from pipeline.families.faster_rcnn.params.proposals import ProposalRuleParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.families.faster_rcnn.training.joint_run import train_jointly
from pipeline.families.faster_rcnn_joint.typed import typed
from pipeline.geometry.layout import MapLayout
from pipeline.params.anchors import AnchorParams
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.params.schedule import Schedule
from pipeline.params.solver import SolverParams
from pipeline.runtime.launcher import launch
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.torch_seeding import torch_generator


def train_end_to_end(stage: Stage) -> None:
    """End to end ("approximate joint") training: no gradient passes through the proposals' coordinates."""
    params, backbone = typed(stage.params), stage.input("backbone")
    accelerator = launch(params.base, params.roi_head.pool)
    trunk = load_trunk(backbone, params.backbone)
    generator = torch_generator(params.base.seed, stage.name, "rpn")
    rpn = initial_rpn(backbone, trunk.layout, params.anchors, params.rpn, generator)
    given = params.proposals
    rule = ProposalRule(given.pre_nms, given.nms_iou, given.post_nms, given.min_size, given.cut_first)
    train_jointly(stage, (trunk, rpn, _head(stage, trunk.layout)), rule, params.train_end_to_end, accelerator)


def _head(stage: Stage, layout: MapLayout) -> RoIHead:
    """A head of the data set's classes, its deltas normalised by mean and std of params.yaml; of a detector it takes
    the rows of the classes that it has too."""
    params = typed(stage.params)
    classes, backbone = read_classes(stage.input("resize")), stage.input("backbone")
    generator = torch_generator(params.base.seed, stage.name, "head")
    head = pretrained_head(backbone, layout, len(classes), params.roi_head, params.backbone, generator)
    head.delta_mean.copy_(torch.tensor(params.proposal_targets.mean))
    head.delta_std.copy_(torch.tensor(params.proposal_targets.std))
    line = take_class_rows(head, backbone, classes)
    if line is not None:
        stage.log(line)
    return head


if __name__ == "__main__":
    run_stage(
        train_end_to_end,
        about=__doc__,
        sections={
            "base": Base,
            "backbone": BackboneParams,
            "anchors": AnchorParams,
            "rpn": RPNParams,
            "proposals": ProposalRuleParams,
            "proposal_targets": RoITargetParams,
            "roi_head": RoIHeadParams,
            "solver": SolverParams,
            "train_end_to_end": Schedule,
        },
        inputs={
            "resize": "folder of the resize stage",
            "frozen_features": "folder of the frozen_features stage",
            "anchor_targets": "folder of the anchor_targets stage",
            "backbone": "folder of the backbone stage",
        },
    )

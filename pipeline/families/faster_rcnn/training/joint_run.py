"""Joint training of trunk, RPN and RoI head, from images to weights: shared by all stages that do this."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.weights import save_parts
from pipeline.building.anchors import anchor_grid
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSampler, put_anchors_together
from pipeline.families.faster_rcnn.training.batches import BatchLoader
from pipeline.families.faster_rcnn.training.gt_source import GtSource
from pipeline.families.faster_rcnn.training.joint_step import JointStep
from pipeline.families.faster_rcnn.training.rpn_entries import entries_with_gt
from pipeline.feeding.sources import trunk_source
from pipeline.training.run import entries_of, epoch_order, run_training

if TYPE_CHECKING:
    from accelerate import Accelerator

    from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
    from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
    from pipeline.families.faster_rcnn.nn.rpn import RPNHead
    from pipeline.nn.backbones.trunk import Trunk
    from pipeline.params.schedule import Schedule
    from pipeline.runtime.stage import Stage


def train_jointly(
    stage: Stage,
    network: tuple[Trunk, RPNHead, RoIHead],
    rule: ProposalRule,
    schedule: Schedule,
    accelerator: Accelerator,
) -> None:
    """Train on the images and anchor targets that the stage is given, and write model.safetensors with all three parts
    and history.csv.

    Args:
        stage: has the inputs resize, frozen_features and anchor_targets, and the sections base, anchors, rpn,
            proposal_targets, roi_head and solver.
        network: as training starts from it. rule: which proposals the head is trained on.
    """
    params, seed, (trunk, rpn, head) = typed(stage.params), stage.params.base.seed, network
    images = ResizedImages(stage.input("resize"), "train")
    grid = anchor_grid(params.anchors, trunk.layout)
    step = JointStep(trunk, rpn, head, grid, rule, params.rpn, params.proposal_targets, params.roi_head)
    targets = AnchorTargets(stage.input("anchor_targets"))
    sizes = entries_with_gt(entries_of(images, params.base.mirror), targets, params.rpn, schedule, stage.name)
    sampler = AnchorSampler(targets, params.rpn.anchors_per_image, params.rpn.fg_fraction, seed, stage.name)
    order = epoch_order(sizes, schedule, seed, stage.name)
    source = trunk_source(stage, images)
    together = partial(
        put_anchors_together, layout=trunk.layout, per_location=rpn.per_location, normaliser=params.rpn.normaliser
    )
    gt = GtSource(GroundTruth(stage.input("resize")), images)
    loader = BatchLoader(order, source, seed, stage.name, anchors=sampler, put_together=together, gt=gt)
    run_training(step, loader, schedule, params.solver, accelerator, stage)
    save_parts(stage.out, {"trunk": trunk, "rpn": rpn, "head": head})

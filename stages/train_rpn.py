"""Train the region proposal network: step 1 with the trunk, on images; step 3 alone, on the maps of step 2's trunk.

The maps are cached, or computed in every iteration if `features.keep` is none.

Writes model.safetensors with the parts it trained (step 1: trunk and rpn; step 3: rpn) and history.csv.
"""

from __future__ import annotations

from functools import partial

import torch

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.weights import save_parts
from pipeline.building.layout import map_layout
from pipeline.building.trunk import load_trunk
from pipeline.families.faster_rcnn.building.rpn import initial_rpn, load_rpn
from pipeline.families.faster_rcnn.params.features import FeatureParams
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.families.faster_rcnn.params.train_rpn_step3 import RPNStep3
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSampler, put_anchors_together
from pipeline.families.faster_rcnn.training.batches import BatchLoader
from pipeline.families.faster_rcnn.training.enough_for_rpn import check_anchors
from pipeline.families.faster_rcnn.training.rpn_entries import entries_with_gt
from pipeline.families.faster_rcnn.training.rpn_step import RPNStep
from pipeline.feeding.frozen_trunk import FrozenTrunk, SharedMaps
from pipeline.feeding.sources import trunk_source
from pipeline.feeding.views import ViewSource
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.anchors import AnchorParams
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.params.schedule import Schedule
from pipeline.params.solver import SolverParams
from pipeline.runtime.launcher import launch
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.torch_seeding import torch_generator
from pipeline.training.run import entries_of, epoch_order, run_training


def train_rpn(stage: Stage) -> None:
    """Step 3 where features are given, else step 1."""
    params, seed = typed(stage.params), stage.params.base.seed
    accelerator = launch(params.base)
    on_maps = stage.inputs["features"] is not None
    schedule: Schedule = params.train_rpn_step3 if on_maps else params.train_rpn_step1
    source: ViewSource
    trunk: Trunk | None = None
    frozen: FrozenTrunk | None = None
    if on_maps:
        maps = SharedMaps(stage, accelerator)
        source, sizes, frozen = maps.source, maps.sizes, maps.trunk
    else:
        images = ResizedImages(stage.input("resize"), "train")
        source, sizes = trunk_source(stage, images), entries_of(images, params.base.mirror)
        trunk = load_trunk(stage.input("backbone"), params.backbone)
    layout = map_layout(params.backbone)
    if on_maps and params.train_rpn_step3.init == "step1":
        rpn = load_rpn(stage.input("rpn"), layout, params.anchors, params.rpn)
    else:
        generator = torch_generator(seed, stage.name, "rpn")
        rpn = initial_rpn(stage.input("backbone"), layout, params.anchors, params.rpn, generator)
    targets = AnchorTargets(stage.input("anchor_targets"))
    sizes = entries_with_gt(sizes, targets, params.rpn, schedule, stage.name)
    check_anchors(any(targets.has_anchor(entry) for entry in sizes))
    sampler = AnchorSampler(targets, params.rpn.anchors_per_image, params.rpn.fg_fraction, seed, stage.name)
    order = epoch_order(sizes, schedule, seed, stage.name)
    together = partial(
        put_anchors_together, layout=layout, per_location=rpn.per_location, normaliser=params.rpn.normaliser
    )
    loader = BatchLoader(order, source, seed, stage.name, anchors=sampler, put_together=together)
    step = RPNStep(rpn, params.rpn, trunk or frozen, layout)
    run_training(step, loader, schedule, params.solver, accelerator, stage)
    parts: dict[str, torch.nn.Module] = {"rpn": rpn} if trunk is None else {"trunk": trunk, "rpn": rpn}
    save_parts(stage.out, parts)


if __name__ == "__main__":
    run_stage(
        train_rpn,
        about=__doc__,
        sections={
            "base": Base,
            "backbone": BackboneParams,
            "anchors": AnchorParams,
            "rpn": RPNParams,
            "solver": SolverParams,
            "train_rpn_step1": Schedule,
            "features": FeatureParams,
            "train_rpn_step3": RPNStep3,
        },
        inputs={
            "anchor_targets": "folder of the anchor_targets stage",
            "backbone": "folder of the backbone stage",
        },
        optional={
            "resize": "folder of the resize stage; in step 3 for features.keep none",
            "frozen_features": "folder of the frozen_features stage; in step 3 for features.keep none",
            "features": "step 3: folder of the features stage",
            "trunk": "step 3: folder of train_head_step2, for features.keep none",
            "rpn": "step 3: folder of train_rpn_step1, which the RPN may start from",
        },
    )

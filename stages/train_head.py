"""Train the RoI head: step 2 with a trunk of its own, on images; step 4 alone, on the maps of step 2's trunk.

The maps are cached, or computed in every iteration if `features.keep` is none. Step 2's trunk starts from the
pre-trained weights again, not from step 1. Writes model.safetensors with the parts it trained (step 2: trunk and head;
step 4: head) and history.csv.
"""

from __future__ import annotations

import torch

from pipeline.artifacts.classes import read_classes
from pipeline.artifacts.proposal_targets import ProposalTargets, read_normalisation
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.weights import save_parts
from pipeline.building.layout import map_layout
from pipeline.building.trunk import load_trunk
from pipeline.families.faster_rcnn.building.class_rows import take_class_rows
from pipeline.families.faster_rcnn.building.roi_head import load_head, pretrained_head
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.params.features import FeatureParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.families.faster_rcnn.params.train_head_step4 import HeadStep4
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.families.faster_rcnn.training.batches import BatchLoader
from pipeline.families.faster_rcnn.training.head_step import HeadStep
from pipeline.families.faster_rcnn.training.roi_sampler import RoISampler
from pipeline.feeding.frozen_trunk import FrozenTrunk, SharedMaps
from pipeline.feeding.sources import trunk_source
from pipeline.feeding.views import ViewSource
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.params.schedule import Schedule
from pipeline.params.solver import SolverParams
from pipeline.runtime.errors import InputError
from pipeline.runtime.launcher import launch
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.torch_seeding import torch_generator
from pipeline.training.run import entries_of, epoch_order, run_training


def train_head(stage: Stage) -> None:
    """Step 2 where a backbone is given, else step 4."""
    params, seed = typed(stage.params), stage.params.base.seed
    accelerator = launch(params.base, params.roi_head.pool)
    on_maps = stage.inputs["features"] is not None
    schedule: Schedule = params.train_head_step4 if on_maps else params.train_head_step2
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
    head = _initial_head(stage, on_maps)
    targets = ProposalTargets(stage.input("proposal_targets"))
    sampler = RoISampler(targets, params.roi_head.rois_per_image, params.roi_head.fg_fraction, seed, stage.name)
    loader = BatchLoader(epoch_order(sizes, schedule, seed, stage.name), source, seed, stage.name, rois=sampler)
    step = HeadStep(head, params.roi_head, trunk or frozen)
    run_training(step, loader, schedule, params.solver, accelerator, stage)
    parts: dict[str, torch.nn.Module] = {"head": head} if trunk is None else {"trunk": trunk, "head": head}
    save_parts(stage.out, parts)


def _initial_head(stage: Stage, on_maps: bool) -> RoIHead:
    """Step 2: the hidden layers of the pre-trained classifier, and of a detector the rows of the classes that it has
    too; the rest fresh. Step 4: of step 2, cls_score and bbox_pred as `train_head_step4.init` says. A head takes over
    the normalisation of the targets it is to learn."""
    params, seed = typed(stage.params), stage.params.base.seed
    folder = stage.input("proposal_targets")
    content = read_normalisation(folder)
    if params.roi_head.class_agnostic and ((content.mean != content.mean[:1]) | (content.std != content.std[:1])).any():
        raise InputError(
            f"{folder}: each class has a normalisation of its own, and roi_head.class_agnostic predicts one box for "
            "all; rerun it with proposal_targets.normalise fixed"
        )
    mean, std = torch.from_numpy(content.mean).float(), torch.from_numpy(content.std).float()
    layout = map_layout(params.backbone)
    generator = torch_generator(seed, stage.name, "head")
    if on_maps:
        head = load_head(stage.input("head"), layout, params.roi_head, params.backbone)
        head.set_normalisation(mean, std)
        if params.train_head_step4.init == "fresh":
            head.initialise_outputs(generator)
        return head
    head = pretrained_head(stage.input("backbone"), layout, len(mean), params.roi_head, params.backbone, generator)
    head.delta_mean.copy_(mean)
    head.delta_std.copy_(std)
    line = take_class_rows(head, stage.input("backbone"), read_classes(stage.input("resize")))
    if line is not None:
        stage.log(line)
    return head


if __name__ == "__main__":
    run_stage(
        train_head,
        about=__doc__,
        sections={
            "base": Base,
            "backbone": BackboneParams,
            "roi_head": RoIHeadParams,
            "solver": SolverParams,
            "train_head_step2": Schedule,
            "features": FeatureParams,
            "train_head_step4": HeadStep4,
        },
        inputs={"proposal_targets": "folder of a proposal_targets stage"},
        optional={
            "resize": "folder of the resize stage; in step 4 for features.keep none",
            "frozen_features": "folder of the frozen_features stage; in step 4 for features.keep none",
            "backbone": "step 2: folder of the backbone stage",
            "features": "step 4: folder of the features stage",
            "trunk": "step 4: folder of train_head_step2, for features.keep none",
            "head": "step 4: folder of train_head_step2, which the head starts from",
        },
    )

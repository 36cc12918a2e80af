"""Train the trunk and the head of a dense detector together, on images, with the family's losses.

Starts from the pre-trained trunk and a fresh head, or from the detector of `init.detector`, for the classes that it
shares with the data set. Writes model.safetensors with both parts and history.csv. The section of params.yaml with the
stage's name holds the schedule.

If the family has a section `augment`, which changes training images at random in each epoch, targets are assigned to
the changed images by the function of the targets stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.artifacts.classes import read_classes
from pipeline.artifacts.dense_targets import DenseTargets
from pipeline.artifacts.draws import Draws
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.manifest import writer_of
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.weights import save_parts
from pipeline.building.trunk import load_trunk
from pipeline.dense.batches import DenseLoader
from pipeline.dense.building import fresh_head
from pipeline.dense.contract import remark, train_part
from pipeline.dense.drawn import DrawnViews
from pipeline.dense.drawn_batches import DrawnLoader, check_draws
from pipeline.dense.initial import take_head
from pipeline.dense.step import DenseStep
from pipeline.dense.targets import TargetSource
from pipeline.feeding.originals import ORIGINALS, originals_of
from pipeline.feeding.views import ImageViews
from pipeline.params.augment import augmentation
from pipeline.params.backbone import BackboneParams
from pipeline.params.base import Base
from pipeline.params.solver import SolverParams
from pipeline.runtime.launcher import launch
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.torch_seeding import torch_generator
from pipeline.training.run import entries_of, epoch_order, run_training

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.dense.batches import DenseBatch
    from pipeline.params.schedule import Schedule


def train_dense(stage: Stage) -> None:
    """Trunk and head at once, from the stored targets or from those of drawn views."""
    part, params, seed = train_part(stage.part), stage.params, stage.params.base.seed
    schedule: Schedule = getattr(params, stage.name)
    accelerator = launch(params.base)
    resized = stage.input("resize")
    images = ResizedImages(resized, "train", originals=originals_of(stage))
    trunk = load_trunk(stage.input("backbone"), params.backbone)
    generator = torch_generator(seed, stage.name, "head")
    classes = read_classes(resized)
    head = fresh_head(part, trunk.layout, len(classes), params, generator)
    for line in take_head(head, stage.input("backbone"), classes):
        stage.log(line)
    stored, gt = DenseTargets(stage.input("targets")), GroundTruth(resized)
    augment = augmentation(params)
    # Drawn views take the place of all others: an image has one entry, whatever else is stored of it.
    sizes = {Entry(own.image_id): own.size for own in images} if augment else entries_of(images, params.base.mirror)
    stored.check_has(sizes)
    order = epoch_order(sizes, schedule, seed, stage.name)
    check_draws(stored.folder, part, augment is not None, stage.name)
    loader: Callable[[int], DenseBatch]
    if augment:
        views = DrawnViews(augment, images, gt, seed, writer_of(stored.folder))
        draws = Draws(stored.folder)
        loader = DrawnLoader(order, images, views, draws, part, head.locations, params, seed, stage.name)
    else:
        targets = TargetSource(stored, gt, head.locations)
        loader = DenseLoader(order, ImageViews(images), targets, seed, stage.name)
    history = run_training(DenseStep(trunk, head, part, params), loader, schedule, params.solver, accelerator, stage)
    remarked = remark(part, history, params)
    if remarked is not None:
        stage.log(remarked)
    save_parts(stage.out, {"trunk": trunk, "head": head})


if __name__ == "__main__":
    run_stage(
        train_dense,
        about=__doc__,
        sections={"base": Base, "backbone": BackboneParams, "solver": SolverParams},
        inputs={
            "resize": "folder of the resize stage",
            "targets": "folder of the stage that assigned the targets",
            "backbone": "folder of the backbone stage",
        },
        optional=ORIGINALS,
        of_family="train_dense",
    )

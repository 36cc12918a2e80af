"""Training and evaluating a detector of torchvision's on the artifacts of our stages: the same resized photos, the same
gt boxes, the same evaluation.

Shapes: H, W image height, width.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from pipeline.artifacts.dataset_tables import DATASET_BOXES
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ResizedImages, evaluated_images
from pipeline.artifacts.tables import boxes_of, read_columns
from pipeline.datasets.originals import Originals
from pipeline.metrics.coco_ap import coco_metrics
from pipeline.metrics.rows import DetectionRows, GtRows
from pipeline.metrics.voc_ap import voc_ap
from pipeline.params.base import Base
from pipeline.params.reading import Params
from pipeline.runtime.launcher import launch
from pipeline.runtime.seeding import numpy_generator
from pipeline.training.order import EpochOrder
from pipeline.training.run import entries_of

WARMUP_ITERATIONS, WARMUP_SHARE, WARMUP_FROM = 1000, 0.1, 1e-3
Factor = Callable[[int, float], float]


class Diverged(Exception):
    """A loss of the peer is not finite."""


@dataclass(frozen=True)
class Budget:
    """Wall seconds of training, or images through the trunk's backward pass."""

    seconds: float | None
    images: int | None

    def spent(self, seconds: float, images: int) -> float:
        """The share of it that is used up."""
        return seconds / self.seconds if self.seconds else images / self.images  # type: ignore[operator]


@dataclass(frozen=True)
class Recipe:
    """How a peer is trained.

    Attributes:
        base: seed, threads and precision.
        batch: images an iteration.
        momentum, weight_decay: of SGD. fused: SGD's kernel.
        factor: iteration and share of the budget that is spent, to the learning rate's factor.
        by_chance: every image once an epoch, mirrored or not by chance, as in torchvision's references; False: every
            image and its mirror once an epoch, as in our stages.
        clip_norm: None: gradients are not clipped.
        channels_last: layout of weights and maps.
    """

    base: Base
    batch: int
    momentum: float
    weight_decay: float
    fused: bool | None
    factor: Factor
    by_chance: bool = False
    clip_norm: float | None = None
    channels_last: bool = False


def our_recipe(params: Params) -> Recipe:
    """As our joint step is trained: precision, batch, solver."""
    solver = params.solver
    return Recipe(
        params.base,
        params.finetune_joint.images_per_iteration,
        solver.momentum,
        solver.weight_decay,
        fused=True,
        factor=our_factor(solver.lr_decay == "linear"),
        clip_norm=10.0,
    )


def torchvision_recipe(base: Base, *, shipped: bool, iterations_per_epoch: int) -> Recipe:
    """As torchvision's references train, but for the decay; as shipped in float32, or in our precision and layout."""
    return Recipe(
        base.model_copy(update={"precision": "float32"}) if shipped else base,
        batch=2,
        momentum=0.9,
        weight_decay=1e-4,
        fused=None if shipped else True,
        factor=torchvision_factor(iterations_per_epoch),
        by_chance=True,
        channels_last=not shipped,
    )


def our_factor(linear: bool) -> Factor:
    """50 iterations of warm-up; then linear to 0, or a tenth from three quarters on."""

    def factor(iteration: int, spent: float) -> float:
        warmup = min(1.0, (iteration + 1) / 50)
        return min(warmup, 1 - spent) if linear else warmup * (0.1 if spent > 0.75 else 1.0)

    return factor


def torchvision_factor(iterations_per_epoch: int) -> Factor:
    """Warm-up as torchvision's references (from .001, over the first epoch or 1,000 iterations), over a tenth of the
    budget where that ends first; times a linear decay to 0.

    Its own decay, by steps after epochs 16 and 22 of 26, would never begin in so few.
    """
    over = min(WARMUP_ITERATIONS, max(1, iterations_per_epoch - 1))

    def factor(iteration: int, spent: float) -> float:
        progress = min(1.0, max(iteration / over, spent / WARMUP_SHARE))
        return (WARMUP_FROM + (1 - WARMUP_FROM) * progress) * (1 - spent)

    return factor


def train(model: nn.Module, data: Path, recipe: Recipe, budget: Budget, lr: float) -> tuple[int, float]:
    """Train on the resized photos in `data`; iterations and seconds.

    Raises:
        Diverged: a loss is not finite.
    """
    accelerator = launch(recipe.base)
    images, gt = ResizedImages(data / "resize", "train", originals=originals_in(data)), GroundTruth(data / "resize")
    seed = recipe.base.seed
    sizes = entries_of(images, recipe.base.mirror and not recipe.by_chance)
    landscape = [width >= height for height, width in sizes.values()]
    order = EpochOrder(list(sizes), landscape, recipe.batch, seed, "peer")
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.SGD(
        trained, lr=lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=recipe.fused
    )
    model.train()
    started, iteration = time.monotonic(), 0
    while (spent := budget.spent(time.monotonic() - started, iteration * recipe.batch)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = lr * recipe.factor(iteration, spent)
        _, entries = order(iteration)
        if recipe.by_chance and recipe.base.mirror:
            mirrored = numpy_generator(seed, "peer", "mirrored", iteration).random(len(entries)) < 0.5
            entries = [e.mirror if chance else e for e, chance in zip(entries, mirrored, strict=True)]
        with accelerator.autocast():
            losses = model([as_input(images, entry) for entry in entries], targets_of(images, gt, entries))
        loss = torch.stack([value.float() for value in losses.values()]).sum()
        if not torch.isfinite(loss):
            raise Diverged(f"the loss is not finite in iteration {iteration}")
        loss.backward()
        if recipe.clip_norm is not None:
            clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        iteration += 1
    return iteration, time.monotonic() - started


def originals_in(data: Path) -> Callable[[], Originals]:
    """The reader of the originals in a project's data/, for presets that store no resized pixels."""
    return lambda: Originals(data / "dataset", data / "raw")


def as_input(images: ResizedImages, entry: Entry) -> Tensor:
    """(3, H, W) float32 in 0..1."""
    return torch.from_numpy(images.pixels(entry).copy()).permute(2, 0, 1).float() / 255


def targets_of(images: ResizedImages, gt: GroundTruth, entries: list[Entry]) -> list[dict[str, Tensor]]:
    """Boxes and labels as torchvision's detectors want them."""
    return [
        {
            "boxes": torch.from_numpy(gt.boxes(entry, images.seen(entry).size[1]).copy()),
            "labels": torch.from_numpy(gt[entry.image_id][1]),
        }
        for entry in entries
    ]


@torch.inference_mode()
def evaluate(model: nn.Module, data: Path, base: Base, num_classes: int, split: str = "test") -> dict[str, float]:
    """VOC mAP at .5 and COCO AP on the images of a split, judged as our stage `evaluate` judges."""
    accelerator = launch(base)
    images = evaluated_images(data / "resize", split, originals_in(data))
    model.eval()
    columns: list[tuple[np.ndarray, ...]] = []
    for index, info in enumerate(images):
        with accelerator.autocast():
            found = model([as_input(images, Entry(info.image_id))])[0]
        boxes = found["boxes"].float().numpy() / np.array([*info.scale, *info.scale], dtype=np.float32)
        columns.append((np.full(len(boxes), index), found["labels"].numpy(), found["scores"].float().numpy(), boxes))
    detections = DetectionRows(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))
    truth = read_truth(data, images)
    return {
        "mAP50": voc_ap(detections, truth, num_classes).mean_all_point,
        "AP": coco_metrics(detections, truth)["AP"],
    }


def read_truth(data: Path, images: ResizedImages) -> GtRows:
    """The original boxes of some images, as the evaluation judges by them."""
    index_of = {info.image_id: i for i, info in enumerate(images)}
    rows = read_columns(data / "dataset" / "boxes.parquet", DATASET_BOXES)
    keep = np.array([image_id in index_of for image_id in rows["image_id"]])
    return GtRows(
        np.array([index_of[image_id] for image_id in rows["image_id"][keep]], dtype=np.int64),
        rows["label"][keep].astype(np.int64),
        boxes_of(rows)[keep],
        rows["difficult"][keep],
        rows["iscrowd"][keep],
    )

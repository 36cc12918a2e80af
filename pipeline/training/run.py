"""What the training stages share: entries to train on, and a run of the loop with progress and history."""

from __future__ import annotations

from collections.abc import Callable

from accelerate import Accelerator
from torch import nn

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.history import write_csv
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.detector.convolution import weight_gradient_by
from pipeline.feeding.enough import check_enough_with_gt
from pipeline.feeding.prefetching import prefetch
from pipeline.params.rpn import RPNParams
from pipeline.params.schedule import Schedule
from pipeline.params.solver import SolverParams
from pipeline.stage import Stage
from pipeline.training.batches import Batch
from pipeline.training.loop import train
from pipeline.training.order import EpochOrder
from pipeline.training.resumable import resumable


def entries_of(images: ResizedImages, mirror: bool) -> dict[Entry, tuple[int, int]]:
    """Every image in every view, and their mirrors if wanted, with its (H, W)."""
    return {entry: images.seen(entry).size for entry in images.entries(mirror)}


def entries_with_gt(
    sizes: dict[Entry, tuple[int, int]], targets: AnchorTargets, rpn: RPNParams, schedule: Schedule, stage: str
) -> dict[Entry, tuple[int, int]]:
    """The entries that train the RPN: all, or those with a trainable gt box, as `rpn.images_without_gt` says.

    Raises:
        InputError: too few are left for one iteration.
    """
    if rpn.images_without_gt == "background":
        return sizes
    kept = {entry: size for entry, size in sizes.items() if targets.has_gt(entry.image_id)}
    left, total = (len({entry.image_id for entry in entries}) for entries in (kept, sizes))
    check_enough_with_gt(left, total, len(kept), schedule.images_per_iteration, stage)
    return kept


def epoch_order(sizes: dict[Entry, tuple[int, int]], schedule: Schedule, seed: int, stage: str) -> EpochOrder:
    """The order of a training stage over entries of (H, W)."""
    landscape = [width >= height for height, width in sizes.values()]
    return EpochOrder(list(sizes), landscape, schedule.images_per_iteration, seed, stage)


def run_training(
    step: nn.Module,
    load_batch: Callable[[int], Batch],
    schedule: Schedule,
    solver: SolverParams,
    accelerator: Accelerator,
    stage: Stage,
) -> None:
    """Train `step` for its schedule, resuming where a run that was cut short left off, and write history.csv."""
    low = accelerator.mixed_precision != "no"
    stage.kernels["conv3x3_weight_gradient"] = weight_gradient_by(low, accelerator.device.type)
    with resumable(stage, schedule.iterations) as run:
        history = train(
            step,
            lambda iterations: prefetch(load_batch, iterations),
            schedule,
            solver,
            accelerator,
            stage=stage.name,
            on_iteration=run.on_iteration,
            checkpoints=run.checkpoints,
            on_resume=run.on_resume,
            keep_bad_batch_in=stage.bad_batches,
        )
    write_csv(stage.out / "history.csv", history)

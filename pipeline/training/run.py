"""Shared by training stages: the entries to train on, and a run of the loop with progress and history."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.artifacts.atomic import lock_of
from pipeline.artifacts.history import write_csv
from pipeline.feeding.loaders import made_ahead
from pipeline.nn.convolution import weight_gradient_by
from pipeline.runtime.variables import loader_count
from pipeline.training.loop import train
from pipeline.training.order import EpochOrder
from pipeline.training.resumable import resumable

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from pipeline.artifacts.image_views import Entry
    from pipeline.artifacts.resized_images import ResizedImages
    from pipeline.params.schedule import Schedule
    from pipeline.params.solver import SolverParams
    from pipeline.runtime.stage import Stage
    from pipeline.training.batch import Batch
    from pipeline.training.meter import Row


def entries_of(images: ResizedImages, mirror: bool) -> dict[Entry, tuple[int, int]]:
    """Every image in every view, and their mirrors if wanted, with its (H, W)."""
    return {entry: images.seen(entry).size for entry in images.entries(mirror)}


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
) -> list[Row]:
    """Train `step` for its schedule, resuming where a run that was cut short left off, and write history.csv; its
    rows.

    Raises:
        StartedOtherwise: the number of processes that make batches is wrong.
    """
    loader_count()  # before any line says that the training resumes
    low = accelerator.mixed_precision != "no"
    stage.kernels["conv3x3_weight_gradient"] = weight_gradient_by(low, accelerator.device.type)
    for remark in schedule.remarks(solver.lr_decay):
        stage.log(f"note: {remark}")
    with resumable(stage, schedule.iterations) as run:
        history = train(
            step,
            lambda iterations: made_ahead(load_batch, iterations, lock_of(stage.out)),
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
    return history

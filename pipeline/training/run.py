"""What the training stages share: entries to train on, and a run of the loop with progress and history."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from pipeline.artifacts.history import write_csv
from pipeline.artifacts.stores import Entry, ResizedImages
from pipeline.params import Schedule, SolverParams
from pipeline.progress import Progress
from pipeline.training.batches import Batch, prefetch
from pipeline.training.loop import train
from pipeline.training.order import EpochOrder


def entries_of(images: ResizedImages, mirror: bool) -> dict[Entry, tuple[int, int]]:
    """Every image, and its mirror if wanted, with its (H, W)."""
    return {
        Entry(image.image_id, mirrored): image.size
        for image in images
        for mirrored in ((False, True) if mirror else (False,))
    }


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
    out: Path,
    stage: str,
) -> None:
    """Train `step` for its schedule and write `out`/history.csv."""
    with Progress(stage, schedule.iterations, "iterations") as progress:
        history = train(
            step,
            prefetch(load_batch, range(schedule.iterations)),
            schedule,
            solver,
            accelerator,
            stage=stage,
            on_iteration=lambda loss: progress.advance(note=f"loss {loss:.3f}"),
        )
    write_csv(out / "history.csv", history)

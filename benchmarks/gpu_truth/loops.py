"""The real training loop of a stage, with its own loader and with batches that lie on the device."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu_truth.bench import Bench
from benchmarks.photos import Photos
from benchmarks.training_time import step_of
from pipeline.families.faster_rcnn.training.batches import Batch, BatchLoader
from pipeline.feeding.loaders import made_ahead
from pipeline.feeding.prefetching import to_device
from pipeline.params.schedule import Schedule
from pipeline.runtime.launcher import launch
from pipeline.training.loop import train


def loop_rates(bench: Bench, made: Photos, stage: str, schedule: Schedule, loader: BatchLoader) -> tuple[float, float]:
    """Images per second of a stage's loop as it is, and with batches resident on the device."""
    step, accelerator = step_of(made, stage), launch(made.params.base)

    def loop(batches: Any) -> None:
        train(step, batches, schedule, made.params.solver, accelerator, stage=stage, on_iteration=lambda loss: None)

    resident = _resident_batches(loader, schedule.iterations, accelerator.device)
    count = schedule.iterations * schedule.images_per_iteration
    return (
        count / bench.seconds(lambda: loop(lambda wanted: made_ahead(loader, wanted)), 1, 1),
        count / bench.seconds(lambda: loop(lambda wanted: [resident[i] for i in wanted]), 1, 0),
    )


def _resident_batches(loader: BatchLoader, iterations: int, device: Any) -> list[Batch]:
    return [to_device(loader(iteration), device) for iteration in range(iterations)]

"""The real training loop of step 1: images per second by precision and batch size, and the loader's share."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.floors import rpn_training_flops
from benchmarks.gpu_truth.bench import Bench
from benchmarks.photos import Photos
from benchmarks.training_time import loader_of, step_of
from pipeline.artifacts.maps import FeatureMaps
from pipeline.families.faster_rcnn.training.batches import Batch, BatchLoader
from pipeline.feeding.prefetching import prefetch, to_device
from pipeline.feeding.views import MapViews
from pipeline.params.schedule import Schedule
from pipeline.runtime.launcher import launch
from pipeline.training.loop import train

STAGE = "train_rpn_step1"


def run(bench: Bench) -> None:
    """From images, as `voc07_vgg16` ships it; the last ones with the stored maps of the frozen blocks."""
    with bench.photos(16) as made:
        sizes = list(made.entries().values())
        bench.record(gflop_an_image=rpn_training_flops(made.params, sizes) / 1e9)
        for precision, images in (("float32", 1), ("tf32", 1), ("bf16", 1), ("bf16", 2), ("bf16", 8)):
            if not (bench.small and images > 2):
                name = f"{precision}, {images} image{'s' * (images > 1)}"
                bench.attempt(name, lambda p=precision, i=images: measure(bench, made, p, i))
        maps = MapViews(FeatureMaps(made.data / "frozen_features"))
        bench.attempt("bf16, 2 images, stored maps", lambda: measure(bench, made, "bf16", 2, maps))


def measure(
    bench: Bench, made: Photos, precision: str, images: int, source: MapViews | None = None
) -> dict[str, float]:
    """Images a second of the loop as it is, with batches resident on the device, and of the loader alone."""
    made.params.base = made.params.base.model_copy(update={"precision": precision})
    iterations = 2 if bench.small else max(10, 60 // images)
    schedule = schedule_of(made, iterations, images)
    loader, step = loader_of(made, STAGE, schedule, source), step_of(made, STAGE)
    accelerator = launch(made.params.base)

    def loop(batches: Any) -> None:
        train(step, batches, schedule, made.params.solver, accelerator, stage=STAGE, on_iteration=lambda loss: None)

    resident = resident_batches(loader, iterations, accelerator.device)
    count = iterations * images
    return {
        "images_per_s": count / bench.seconds(lambda: loop(lambda wanted: prefetch(loader, wanted)), 1, 1),
        "batches_resident": count / bench.seconds(lambda: loop(lambda wanted: [resident[i] for i in wanted]), 1, 0),
        "loader_alone": count / _loader(loader, iterations),
    }


def schedule_of(made: Photos, iterations: int, images: int) -> Schedule:
    """Step 1's, for some iterations."""
    changes = {"iterations": iterations, "images_per_iteration": images, "lr": 1e-4, "lr_drop_at": []}
    own: Schedule = getattr(made.params, STAGE)
    return own.model_copy(update={**changes, "warmup_iterations": 0})


def resident_batches(loader: BatchLoader, iterations: int, device: Any) -> list[Batch]:
    """Batches that lie on the device."""
    return [to_device(loader(iteration), device) for iteration in range(iterations)]


def _loader(loader: BatchLoader, iterations: int) -> float:
    began = time.perf_counter()
    for _ in prefetch(loader, range(iterations)):
        pass
    return time.perf_counter() - began

"""The real training loop of step 1: images per second by precision and batch size, and the loader's share."""

from __future__ import annotations

import time

from benchmarks.floors import rpn_training_flops
from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.loops import loop_rates
from benchmarks.photos import Photos
from benchmarks.training_time import loader_of
from pipeline.artifacts.maps import FeatureMaps
from pipeline.families.faster_rcnn.training.batches import BatchLoader
from pipeline.feeding.loaders import made_ahead
from pipeline.feeding.views import MapViews
from pipeline.params.schedule import Schedule

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
    bench: Bench, made: Photos, precision: str, images: int, source: MapViews | None = None, least: int = 0
) -> dict[str, float]:
    """Images a second of the loop as it is, with batches resident on the device, and of the loader alone.

    Args:
        least: iterations, where those of a second or less would not do.
    """
    made.params.base = made.params.base.model_copy(update={"precision": precision})
    iterations = 2 if bench.small else least or max(10, 60 // images)
    schedule = schedule_of(made, iterations, images)
    loader = loader_of(made, STAGE, schedule, source)
    loaded, resident = loop_rates(bench, made, STAGE, schedule, loader)
    return {
        "images_per_s": loaded,
        "batches_resident": resident,
        "loader_alone": iterations * images / _loader(loader, iterations),
    }


def schedule_of(made: Photos, iterations: int, images: int) -> Schedule:
    """Step 1's, for some iterations."""
    changes = {"iterations": iterations, "images_per_iteration": images, "lr": 1e-4, "lr_drop_at": []}
    own: Schedule = getattr(made.params, STAGE)
    return own.model_copy(update={**changes, "warmup_iterations": 0})


def _loader(loader: BatchLoader, iterations: int) -> float:
    """Seconds of the iterations, without the start of a thread or of processes."""
    items = made_ahead(loader, range(iterations))
    next(items)
    began = time.perf_counter()
    for _ in items:
        pass
    return (time.perf_counter() - began) * iterations / (iterations - 1)

"""What the stages before training take an image, and where in them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.gpu_truth.bench import Bench
from pipeline.artifacts.image_views import Entry
from pipeline.building.trunk import load_trunk
from pipeline.datasets.images import read_rgb
from pipeline.datasets.resizing import resize_rgb
from pipeline.feeding.maps import maps_of
from pipeline.feeding.prefetching import to_device
from pipeline.feeding.stored_maps import as_stored, is_finite
from pipeline.feeding.views import ImageViews
from pipeline.runtime.inference import for_inference
from pipeline.runtime.launcher import launch
from pipeline.runtime.stage import Stage
from stages import features as features_stage


def run(bench: Bench) -> None:
    """Whole stages first, then their parts one by one, on the same images."""
    from benchmarks import photos as module

    seconds: dict[str, float] = {}
    timed = module.Photos.run

    def run_timed(self: module.Photos, name: str, work: Callable[[Stage], None], **inputs: str | Path) -> None:
        began = time.perf_counter()
        timed(self, name, work, **inputs)
        bench.wait()
        seconds[name] = time.perf_counter() - began
        bench.record(seconds=seconds)

    module.Photos.run = run_timed  # type: ignore[method-assign]
    with bench.photos(128) as made:
        count = len(list(made.images()))
        made.run("features", features_stage.features, resize="resize", trunk="backbone")
        bench.record(images=count, ms_an_image={name: value / count * 1e3 for name, value in seconds.items()})
        bench.attempt("decode_and_resize_ms_an_image", lambda: _decode(bench, made))
        bench.attempt("features_ms_a_view", lambda: _features(bench, made))


def _decode(bench: Bench, made: object) -> dict[str, float]:
    files = sorted((bench.kit / "photos/JPEGImages").iterdir())[: 4 if bench.small else 64]
    pixels = [read_rgb(file) for file in files]
    rule = made.params.resize  # type: ignore[attr-defined]
    per = 1e3 / len(files)
    return {
        "decode": bench.seconds(lambda: [read_rgb(file) for file in files], runs=1, warmup=0) * per,
        "resize": bench.seconds(lambda: [resize_rgb(photo, rule) for photo in pixels], runs=1, warmup=0) * per,
    }


def _features(bench: Bench, made: object) -> dict[str, float]:
    params = made.params  # type: ignore[attr-defined]
    images = made.images()  # type: ignore[attr-defined]
    accelerator = launch(params.base)
    trunk = for_inference(load_trunk(made.data / "backbone", params.backbone), accelerator)  # type: ignore[attr-defined]
    entries = [Entry(info.image_id) for info in list(images)[: 2 if bench.small else 32]]
    per, source = 1e3 / len(entries), ImageViews(images)
    views = [source.load([entry]) for entry in entries]
    moved = [to_device(view, accelerator.device) for view in views]

    def compute() -> list[torch.Tensor]:
        with torch.inference_mode(), accelerator.autocast():
            return [maps_of(trunk, view)[0] for view in moved]

    maps = compute()
    stored = [as_stored(value, torch.float16) for value in maps]
    parts: dict[str, Callable[[], object]] = {
        "read": lambda: [source.load([entry]) for entry in entries],
        "compute": compute,
        "to float16": lambda: [as_stored(value, torch.float16) for value in maps],
        "check that all is finite": lambda: all(is_finite(value) for value in stored),
        "to the host": lambda: [value.cpu() for value in stored],
    }
    return {name: bench.seconds(work, runs=2, warmup=1) * per for name, work in parts.items()}

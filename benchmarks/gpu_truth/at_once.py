"""The stages that run a network without training it, with 1, 4 and 16 images of one size at once."""

from __future__ import annotations

import time

import torch

from benchmarks.gpu_truth.bench import Bench
from benchmarks.images_at_once import AT_ONCE, Measured, of_retinanet, of_vgg16
from benchmarks.photos import Photos


def run(bench: Bench) -> None:
    """Whole stages, from resized pixels to what they write; the first round of each is not counted."""
    with bench.photos(128, test=64, targets=False) as made:
        stages = [(made, stage) for stage in of_vgg16(made)]
        stages.append(of_retinanet(made, "resnet18" if bench.small else "resnet50"))
        for photos, stage in stages:
            for count in (1, 2) if bench.small else AT_ONCE:
                name = f"{stage.name}, {count} at once"
                bench.attempt(name, lambda p=photos, s=stage, n=count: _measure(bench, p, s, n))


def _measure(bench: Bench, made: Photos, stage: Measured, at_once: int) -> dict[str, float]:
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def once() -> None:
        stage.run(made, at_once)

    images, cpu = len(stage.images(made)), time.process_time()
    seconds = bench.seconds(once, runs=1, warmup=0 if bench.small else 1)
    runs = 1 if bench.small else 2
    return {
        "ms_an_image": seconds / images * 1e3,
        "cpu_ms_an_image": (time.process_time() - cpu) / runs / images * 1e3,
        "images_of_a_group": stage.group_size(made, at_once),
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if bench.device.type == "cuda" else 0.0,
    }

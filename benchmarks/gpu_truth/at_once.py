"""The stages that run a network without training it, with 1, 4 and 16 images of one size at once."""

from __future__ import annotations

import time
from functools import partial

import torch

from benchmarks.gpu_truth.bench import Bench
from benchmarks.images_at_once import AT_ONCE, Measured, of_retinanet, of_vgg16
from benchmarks.photos import Photos

SIZES = ((16, 8), (128, 64))
"""Images to train on and to test on. What one image more takes is the difference: a stage also reads its weights."""


def run(bench: Bench) -> None:
    """Whole stages, from resized pixels to what they write; the first round of each is not counted."""
    for train, test in SIZES[:1] if bench.small else SIZES:
        with bench.photos(train, test=test, targets=False) as made:
            stages = [(made, stage) for stage in of_vgg16(made)]
            stages.append(of_retinanet(made, "resnet18" if bench.small else "resnet50"))
            for photos, stage in stages:
                for count in (1, 2) if bench.small else AT_ONCE:
                    name = f"{stage.name}, {len(stage.images(photos))} images, {count} at once"
                    bench.attempt(name, partial(_measure, bench, photos, stage, count))


def _measure(bench: Bench, made: Photos, stage: Measured, at_once: int) -> dict[str, float]:
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def once() -> None:
        stage.run(made, at_once)

    cpu = time.process_time()
    seconds = bench.seconds(once, runs=1, warmup=0 if bench.small else 1)
    runs = 1 if bench.small else 2
    return {
        "seconds": seconds,
        "cpu_seconds": (time.process_time() - cpu) / runs,
        "images_of_a_group": stage.group_size(made, at_once),
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if bench.device.type == "cuda" else 0.0,
    }

"""Where step 1 and joint training spend an iteration: kernels and the wall, launches, where host and device meet."""

from __future__ import annotations

import collections
import time
import warnings
from collections.abc import Callable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.training import STAGE, schedule_of
from benchmarks.photos import Photos
from benchmarks.training_time import loader_of, our_loop, step_of


def run(bench: Bench) -> None:
    """In bf16 with 2 images, over 20 iterations."""
    with bench.photos(8) as made:
        iterations = 2 if bench.small else 20
        for stage in (STAGE, "finetune_joint"):
            loop = _loop(bench, made, stage, iterations)
            loop()
            if bench.device.type == "cuda":
                bench.attempt(f"{stage}, meetings", lambda loop=loop: _meetings(loop, iterations))
            bench.attempt(f"{stage}, profile", lambda loop=loop: _profile(bench, loop, iterations))


def _loop(bench: Bench, made: Photos, stage: str, iterations: int) -> Callable[[], None]:
    schedule = schedule_of(made, iterations, 2)
    train_once = our_loop(made, stage, schedule, step_of(made, stage), loader_of(made, stage, schedule))

    def loop() -> None:
        train_once()
        bench.wait()

    return loop


def _profile(bench: Bench, loop: Callable[[], None], iterations: int) -> dict[str, object]:
    on_gpu = bench.device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=kinds) as seen:
        began = time.perf_counter()
        loop()
        wall = time.perf_counter() - began
    events = seen.key_averages()
    # On a GPU count kernels alone: the operators that launch them would count the same time again.
    timed = [event for event in events if event.device_type == DeviceType.CUDA] if on_gpu else list(events)
    own = {event.key: getattr(event, "self_device_time_total" if on_gpu else "self_cpu_time_total") for event in timed}
    largest = sorted(own, key=lambda key: -own[key])[:25]
    return {
        "wall_ms_an_iteration": wall * 1e3 / iterations,
        "device_ms_an_iteration": sum(own.values()) / 1e3 / iterations,
        "launches_an_iteration": sum(e.count for e in events if "LaunchKernel" in e.key) / iterations,
        "synchronisations_an_iteration": sum(e.count for e in events if "Synchronize" in e.key) / iterations,
        "operations_an_iteration": sum(e.count for e in events if e.key.startswith("aten::")) / iterations,
        "largest_ms_an_iteration": {key[:90]: own[key] / 1e3 / iterations for key in largest},
    }


def _meetings(loop: Callable[[], None], iterations: int) -> dict[str, float]:
    """Where the host waited, by file and line, times an iteration."""
    places: collections.Counter[str] = collections.Counter()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as met:
            warnings.simplefilter("always")
            loop()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for warning in met:
        places[f"{warning.filename.rpartition('site-packages/')[2]}:{warning.lineno}"] += 1
    return {place: count / iterations for place, count in places.most_common(40)}

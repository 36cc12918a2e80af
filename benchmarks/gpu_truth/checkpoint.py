"""A state of a training of VGG16 with its head: what each part of keeping it takes, and what the loop waits."""

from __future__ import annotations

import hashlib
import time

import torch
from safetensors.torch import save

from benchmarks.gpu_network import FULL, SMALL, Network
from benchmarks.gpu_truth.bench import Bench
from pipeline.presets.apply import preset_params
from pipeline.training.checkpoints import Checkpoints, TrainingState
from pipeline.training.loop import make_optimiser
from pipeline.training.packing import pack


def run(bench: Bench) -> None:
    """Part by part, then as training does it."""

    solver = preset_params("default").solver
    network = Network(SMALL if bench.small else FULL, "roi_align").to(bench.device)
    optimiser = make_optimiser(network, 1e-3, solver)
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    bench.wait()
    seconds = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        seconds[name] = time.perf_counter() - began
        began = time.perf_counter()

    tensors = {name: value.cpu().contiguous() for name, value in pack(network, optimiser).items()}
    lap("to the host")
    data = save(tensors)
    lap("save")
    hashlib.sha256(data).hexdigest()
    lap("hash")
    (bench.work / "state").write_bytes(data)
    lap("write")
    bench.record(gb=len(data) / 1e9, seconds=seconds)
    (bench.work / "state").unlink()
    kept = Checkpoints(bench.work / "checkpoints", "key", print)
    bench.attempt("loop_waits_s", lambda: _waits(bench, kept, pack(network, optimiser)))


def _waits(bench: Bench, kept: Checkpoints, tensors: dict[str, torch.Tensor]) -> dict[str, float]:
    """Seconds until the host continues, and until the device has made its copy: for the first state, which allocates
    its memory, and for the next."""
    seconds = {}
    for number, name in enumerate(("first", "next"), start=1):
        bench.wait()
        began = time.perf_counter()
        kept.write(TrainingState(number, tensors, {}))
        seconds[f"{name}, host"] = time.perf_counter() - began
        bench.wait()
        seconds[f"{name}, device"] = time.perf_counter() - began
        kept.wait()
    return seconds

"""Trunk and RPN, forward and backward, in every combination that could be shipped: TFLOP/s of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_network import FULL, SMALL, Batch, Network, make_batch, step1_loss
from benchmarks.gpu_truth.bench import Bench
from pipeline.nn.arithmetic import set_tf32


def run(bench: Bench) -> None:
    """The cells that matter most first: the section may be ended before the last."""
    _plain(bench, "bf16", (1, 2) if bench.small else (2, 8, 1, 4, 16))
    if bench.device.type == "cuda":
        for name, change in (("graphed", graphed), ("compiled", compiled)):
            for images in (1, 2, 8):
                title = f"bf16, {images} images, channels last, {name}"
                bench.attempt(title, lambda i=images, c=change: cell(bench, "bf16", i, True, False, c))
    for precision in ("tf32", "float32"):
        _plain(bench, precision, (1, 2) if bench.small else (2, 8, 1))


def _plain(bench: Bench, precision: str, counts: Sequence[int]) -> None:
    """Every layout, with and without cudnn.benchmark."""
    for images, last, tuned in itertools.product(counts, (True, False), (False, True)):
        if bench.small and (tuned or not last):
            continue
        name = f"{precision}, {images} images, {'channels last' if last else 'contiguous'}{', tuned' * tuned}"
        bench.attempt(name, lambda i=images, c=last, t=tuned: cell(bench, precision, i, c, t))


def cell(
    bench: Bench,
    precision: str,
    images: int,
    last: bool,
    tuned: bool,
    change: Callable[[Network, Batch], None] = lambda network, batch: None,
) -> dict[str, float]:
    """One combination. A change of the network is made before it is timed."""
    # The head is not run here, and drawing a full one takes the CPU a second a cell.
    full = replace(FULL, size=(600, 800), hidden=SMALL.hidden)
    setting = replace(SMALL if bench.small else full, batch=images)
    layout = torch.channels_last if last else torch.contiguous_format
    network = Network(setting, "roi_align").to(bench.device, memory_format=layout)  # type: ignore[call-overload]
    batch = make_batch(network, setting).to(bench.device)
    batch = replace(batch, images=batch.images.contiguous(memory_format=layout))
    set_tf32(precision == "tf32")
    torch.backends.cudnn.benchmark = tuned

    def step() -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast(bench.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = step1_loss(network, batch)
        loss.backward()

    with FlopCounterMode(display=False) as counter:
        step()
    try:
        change(network, batch)
        spent = bench.seconds(step, runs=3, warmup=3)
    finally:
        torch.backends.cudnn.benchmark = False
        set_tf32(False)
    return {"tflops": counter.get_total_flops() / spent / 1e12, "images_per_s": images / spent}


def graphed(network: Network, batch: Batch) -> None:
    """The trunk, forward and backward, as CUDA graphs of one shape."""
    pixels = network.trunk.normalise(batch.images, batch.sizes)
    with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
        network.trunk = torch.cuda.make_graphed_callables(network.trunk, (pixels,))  # type: ignore[assignment]


def compiled(network: Network, batch: Batch) -> None:
    """The trunk by torch.compile."""
    network.trunk.forward = torch.compile(network.trunk.forward)  # type: ignore[method-assign]

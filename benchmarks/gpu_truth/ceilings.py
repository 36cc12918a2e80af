"""The ceilings: versions, matrix products, copies, disk, md5."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys

import torch

from benchmarks.gpu_truth.bench import Bench
from pipeline.nn.arithmetic import tf32


def run(bench: Bench) -> None:
    """Record each by itself."""
    bench.attempt("versions", lambda: _versions(bench))
    for precision in ("bf16", "tf32", "float32"):
        bench.attempt(f"{precision}_tflops", lambda precision=precision: _product(bench, precision))
    bench.attempt("copies_gb_per_s", lambda: _copies(bench))
    bench.attempt("disk_mb_per_s", lambda: _disk(bench))
    bench.attempt("md5_mb_per_s", lambda: _md5(bench))


def _versions(bench: Bench) -> dict[str, object]:
    on_gpu = bench.device.type == "cuda"
    card = torch.cuda.get_device_properties(0) if on_gpu else None
    smi = ["nvidia-smi", "--query-gpu=driver_version,clocks.sm,power.limit", "--format=csv,noheader"]
    return {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "card": card.name if card else None,
        "card_bytes": card.total_memory if card else None,
        "driver": subprocess.run(smi, capture_output=True, text=True, check=True).stdout.strip() if on_gpu else None,
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _product(bench: Bench, precision: str) -> float:
    side = 256 if bench.small else 8192
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    draw = torch.Generator().manual_seed(0)
    # Of random numbers: products of zeros take less power, and are faster.
    left, right = (torch.randn(side, side, generator=draw).to(bench.device, dtype) for _ in range(2))
    with tf32(precision == "tf32"):
        return 2 * side**3 / bench.seconds(lambda: left @ right, runs=10) / 1e12


def _copies(bench: Bench) -> dict[str, float]:
    count = 1 << (20 if bench.small else 30)
    host = torch.zeros(count, dtype=torch.uint8)
    there = host.to(bench.device)
    other = torch.empty_like(there)
    rates = {"device to device, read and written": 2 * count / bench.seconds(lambda: other.copy_(there)) / 1e9}
    if bench.device.type == "cuda":
        pinned = host.pin_memory()
        rates["pageable to device"] = count / bench.seconds(lambda: there.copy_(host), runs=2, warmup=1) / 1e9
        rates["pinned to device"] = count / bench.seconds(lambda: there.copy_(pinned, non_blocking=True)) / 1e9
        rates["device to pinned"] = count / bench.seconds(lambda: pinned.copy_(there, non_blocking=True)) / 1e9
    return rates


def _disk(bench: Bench) -> dict[str, float]:
    block, path = os.urandom(1 << (20 if bench.small else 28)), bench.work / "block"

    def write() -> None:
        with path.open("wb") as file:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())

    rates = {
        "write": len(block) / bench.seconds(write, runs=2, warmup=0) / 1e6,
        "read, cached": len(block) / bench.seconds(path.read_bytes, runs=2, warmup=1) / 1e6,
    }
    path.unlink()
    return rates


def _md5(bench: Bench) -> float:
    block = bytes(1 << (20 if bench.small else 28))
    return len(block) / bench.seconds(lambda: hashlib.md5(block), runs=2, warmup=0) / 1e6

"""The process of one section: python -m benchmarks.gpu_truth.process NAME KIT WORK RESULT [--small]."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch

from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.sections import SECTIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[section.name for section in SECTIONS])
    for name in ("kit", "work", "result"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--small", action="store_true")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if given.small:
        torch.set_num_threads(1)  # tiny work on a busy CPU mostly waits for its other threads
    bench = Bench(given.kit, given.work, given.result, device, small=given.small)
    if device.type == "cpu" and not given.small:
        bench.record(skipped="no GPU")
        return
    importlib.import_module(f"benchmarks.gpu_truth.{given.name}").run(bench)


if __name__ == "__main__":
    main()

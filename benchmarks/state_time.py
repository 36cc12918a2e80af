"""How long training waits while a state is kept: VGG16 with a 4096-wide head and its momenta, 1.07 GB.

    python -m benchmarks.state_time [--states 4] [--out FOLDER]

The first state gets its memory from the system, later ones find it there. `wait` is until the state lies on the disk,
during which training goes on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.geometry.pooling import Pooling
from pipeline.nn.backbones.build import build_trunk
from pipeline.training.checkpoints import Checkpoints, TrainingState
from pipeline.training.packing import pack


def main() -> None:
    """Print a line a state."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=4)
    parser.add_argument("--out", type=Path, help="where the states go (default: a temporary folder)")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trunk = build_trunk("vgg16", frozen_stages=2, ceil_pool=False)
    head = FcHead(trunk.layout, 21, Pooling("roi_pool", 7), hidden=4096, dropout=0.5)
    network = nn.ModuleDict({"trunk": trunk, "head": head}).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD([w for w in network.parameters() if w.requires_grad], 0.0, momentum=0.9, fused=True)
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    with tempfile.TemporaryDirectory(dir=arguments.out) as folder:
        kept = Checkpoints(Path(folder), "key", print)
        for number in range(arguments.states):
            tensors = pack(network, optimiser)
            started, worked = time.perf_counter(), time.process_time()
            kept.write(TrainingState(number + 1, tensors))
            held_up, worked = time.perf_counter() - started, time.process_time() - worked
            kept.wait()
            written = time.perf_counter() - started
            size = sum(tensor.nbytes for tensor in tensors.values())
            print(
                f"{size / 1e9:.2f} GB: held up {held_up:.2f} s (CPU {worked:.2f} s), wait {written:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()

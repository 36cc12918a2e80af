"""Does the detector run, agree and repeat on this device, and how fast? Needs torch, torchvision and numpy alone.

    python -m benchmarks.gpu_smoke [--small] [--batch N]

VGG16 Faster R-CNN with random weights on random images, on a GPU where there is one. Checked: in float32 the device
and the CPU give the same losses and gradients to a tolerance; in deterministic mode, with RoIAlign, training twice
gives the same bits. Printed: images a second of step 1, joint training and inference in float32 and bf16, the device's
measured peak of bf16 products, and the share of it that is reached. --small: a tiny network and images, for a CPU.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_network import FULL, SMALL, Batch, Network, Setting, joint_loss, make_batch, step1_loss
from pipeline.families.faster_rcnn.nn.network import FasterRCNN
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.nn.arithmetic import full_float32, set_determinism
from pipeline.nn.postprocess import DetectionRule

ALLOWED = {"step 1": 5e-3, "joint, roi_align": 5e-3, "joint, roi_pool": 1.5e-2}
"""By loss, how far gradients may differ from the CPU's, by `largest_difference`. They pass through 13 convolutions,
whose sums two devices take in different orders: an H100 gave 6.5e-4 to 1.3e-3, 1.3e-3 to 2.3e-3 and 6.5e-3 to 7.3e-3.
Factors rounded to TF32 give 2.9e-2, 6.4e-2 and .12. RoIPool's differ most: where two values of a bin are as good as
equal, the last bit decides which one gets the gradient. The largest value of a difference would not do: one ReLU that
the last bit turns on or off changes it by more."""

Loss = Callable[[Network, Batch], Tensor]


def gradients(loss: Loss, network: Network, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    """The loss and a copy of the gradient of every trained weight, on the CPU."""
    network.zero_grad(set_to_none=True)
    value = loss(network, batch)
    value.backward()
    named = network.named_parameters()
    return float(value.detach()), {
        name: weight.grad.to("cpu", copy=True) for name, weight in named if weight.grad is not None
    }


def largest_difference(ours: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    """Over all weights, the largest norm of a difference of gradients over the norm of that weight's gradient; NaN
    where either has one, infinite where one of them lacks a weight."""
    if ours.keys() != others.keys():
        return math.inf
    return worst([_relative(ours[name], others[name]) for name in ours])


def _relative(own: Tensor, other: Tensor) -> float:
    difference, size = (own - other).norm(), other.norm()
    return float(difference / size) if difference != 0 else 0.0


def worst(values: Sequence[float]) -> float:
    """The largest, NaN where one of them is: `max` may drop it."""
    return math.nan if any(math.isnan(value) for value in values) else max(values)


def is_agreed(differences: Mapping[str, float]) -> bool:
    """Whether every difference, by the loss it is of, is a number within what is allowed."""
    return all(difference <= ALLOWED[name] for name, difference in differences.items())


def agreement(setting: Setting, device: torch.device) -> dict[str, float]:
    """In float32, how far losses' gradients on the device differ from those on the CPU."""
    differences = {}
    for pool in ("roi_align", "roi_pool"):
        network = Network(setting, pool)
        batch = make_batch(network, setting)
        losses: dict[str, Loss] = {f"joint, {pool}": lambda net, own: joint_loss(net, own, fresh=False)}
        if pool == "roi_align":
            losses["step 1"] = step1_loss
        expected = {name: gradients(loss, network, batch) for name, loss in losses.items()}
        network.to(device)
        for name, loss in losses.items():
            value, found = gradients(loss, network, batch.to(device))
            own_loss = _relative(torch.tensor(value), torch.tensor(expected[name][0]))
            differences[name] = worst([own_loss, largest_difference(found, expected[name][1])])
    return differences


def repeats(setting: Setting, device: torch.device, iterations: int = 3) -> bool:
    """Whether joint training in deterministic mode, with RoIAlign and bf16, gives the same bits twice."""
    states = []
    for _ in range(2):
        network = Network(setting, "roi_align").to(device)
        batch = make_batch(network, setting).to(device)
        optimiser = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
        for _ in range(iterations):
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device.type, dtype=torch.bfloat16):
                loss = joint_loss(network, batch)
            loss.backward()
            optimiser.step()
        states.append([value.cpu() for value in network.state_dict().values()])
    return all(torch.equal(first, second) for first, second in zip(*states, strict=True))


def seconds(work: Callable[[], object], device: torch.device, runs: int) -> float:
    """The least of several runs, after one to warm up."""
    times = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])


def bf16_peak(device: torch.device) -> float:
    """Operations a second of a large product of bf16 matrices."""
    side = 8192 if device.type == "cuda" else 512
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(side, side, generator=draw).to(device, torch.bfloat16) for _ in range(2))
    return 2 * side**3 / seconds(lambda: left @ right, device, runs=10)


def speeds(setting: Setting, device: torch.device, runs: int) -> dict[str, tuple[float, float]]:
    """Images a second and operations a second of each kind of work in each precision."""
    network = Network(setting, "roi_align").to(device)
    batch = make_batch(network, setting).to(device)
    detector = FasterRCNN(
        network.trunk,
        network.rpn,
        network.head,
        network.grid,
        ProposalRule(6000, 0.7, 300, 16.0),
        DetectionRule(0.05, 0.3, 100),
    )

    def train(loss: Loss) -> None:
        network.zero_grad(set_to_none=True)
        loss(network, batch).backward()

    works: dict[str, Callable[[], object]] = {
        "step 1": lambda: train(step1_loss),
        "joint": lambda: train(joint_loss),
        "inference": lambda: detector(batch.images, batch.sizes, [(1.0, 1.0)] * setting.batch),
    }
    rates = {}
    for precision in ("float32", "bf16"):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            for name, work in works.items():
                network.train(name != "inference")
                with FlopCounterMode(display=False) as counter:
                    work()
                spent = seconds(work, device, runs)
                rates[f"{name}, {precision}"] = (setting.batch / spent, counter.get_total_flops() / spent)
    return rates


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a tiny network and small images")
    parser.add_argument("--batch", type=int, help="images in a batch")
    given = parser.parse_args(arguments)
    setting = SMALL if given.small else FULL
    setting = replace(setting, batch=given.batch or setting.batch)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    full_float32()
    set_determinism(True)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {setting.trunk} at {setting.size}, {setting.batch} images in a batch")
    same = repeats(setting, device)
    print(f"deterministic training with RoIAlign twice: {'the same bits' if same else 'DIFFERENT BITS'}")
    set_determinism(False)
    differences = agreement(replace(setting, batch=min(setting.batch, 2)), device)
    for work, difference in differences.items():
        print(f"float32 gradients of {work}: {difference:.1e} from the CPU's, allowed {ALLOWED[work]:.1e}")
    peak = bf16_peak(device)
    print(f"measured peak of bf16 products: {peak / 1e12:.2f} TFLOP/s")
    for work, (images, flops) in speeds(setting, device, runs=2 if given.small else 5).items():
        print(f"{work}: {images:.1f} images/s, {flops / 1e12:.2f} TFLOP/s, {flops / peak:.0%} of the peak")
    if not same or not is_agreed(differences):
        raise SystemExit("gpu_smoke: failed")
    print("gpu_smoke: passed")


if __name__ == "__main__":
    main()

"""What comes after the trunk: the loops of step 2 and joint training, detection, NMS and RoI pooling by themselves."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.gpu_network import FULL, SMALL, Network, make_batch
from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.loops import loop_rates
from benchmarks.gpu_truth.training import schedule_of
from benchmarks.photos import Photos
from benchmarks.training_time import loader_of
from pipeline.families.faster_rcnn.nn.network import FasterRCNN
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.nn.operators import nms
from pipeline.nn.postprocess import DetectionRule


def run(bench: Bench) -> None:
    """Operators first, as they need no data."""
    for count in (100,) if bench.small else (6000, 12000, 16600):
        bench.attempt(f"nms_of_{count}_ms", lambda count=count: _nms(bench, count))
    for pool in ("roi_pool", "roi_align"):
        bench.attempt(f"{pool}_ms", lambda pool=pool: _pool(bench, pool))
    for images in (1, 2):
        bench.attempt(f"detect_ms_of_{images}", lambda images=images: _detect(bench, images))
    with bench.photos(8) as made:
        for stage in ("train_head_step2", "finetune_joint"):
            for images in (2,) if bench.small else (2, 8):
                name = f"{stage}_views_per_s_of_{images}"
                bench.attempt(name, lambda stage=stage, images=images: _loop(bench, made, stage, images))


def _boxes(bench: Bench, count: int, size: tuple[int, int]) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=draw) * torch.tensor([size[1], size[0]]) * 0.7
    sides = torch.rand(count, 2, generator=draw) * torch.tensor([size[1], size[0]]) * 0.3 + 1
    return torch.cat([corner, corner + sides], dim=1).to(bench.device)


def _nms(bench: Bench, count: int) -> float:
    boxes = _boxes(bench, count, (600, 800))
    scores = torch.rand(count, generator=torch.Generator().manual_seed(1)).to(bench.device)
    return bench.seconds(lambda: nms(boxes, scores, 0.7)) * 1e3


def _pool(bench: Bench, pool: str) -> dict[str, float]:
    network = Network(SMALL if bench.small else FULL, pool).to(bench.device)
    head, channels = network.head, network.trunk.layout.channels
    maps = torch.randn(2, channels, 37, 50, generator=torch.Generator().manual_seed(0)).to(bench.device)
    maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
    rois = [_boxes(bench, 64, (600, 800)) for _ in range(2)]

    def forward() -> torch.Tensor:
        return head([maps], rois)[0]

    def both() -> None:
        maps.grad = None
        forward().sum().backward()

    return {"head forward": bench.seconds(forward) * 1e3, "head forward and backward": bench.seconds(both) * 1e3}


def _detect(bench: Bench, images: int) -> float:
    setting = replace(SMALL if bench.small else FULL, batch=images)
    network = Network(setting, "roi_align").to(bench.device)
    batch = make_batch(network, setting).to(bench.device)
    rules = ProposalRule(6000, 0.7, 300, 16.0), DetectionRule(0.05, 0.3, 100)
    detector = FasterRCNN(network.trunk, network.rpn, network.head, network.grid, *rules)
    network.eval()

    def detect() -> None:
        with torch.inference_mode(), torch.autocast(bench.device.type, torch.bfloat16):
            detector(batch.images, batch.sizes, [(1.0, 1.0)] * images)

    return bench.seconds(detect, runs=3) * 1e3


def _loop(bench: Bench, made: Photos, stage: str, images: int) -> dict[str, float]:
    schedule = schedule_of(made, 2 if bench.small else 20, images)
    loaded, resident = loop_rates(bench, made, stage, schedule, loader_of(made, stage, schedule))
    return {"as it is": loaded, "batches resident": resident}

"""The training loops of ResNet-50 with FPN, weights drawn at random: images per second by precision and batch size."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.training import resident_batches, schedule_of
from benchmarks.photos import Photos
from benchmarks.training_time import loader_of, step_of
from pipeline.feeding.prefetching import prefetch
from pipeline.params.backbone import NeckParams
from pipeline.runtime.launcher import launch
from pipeline.training.loop import train

CHANGES: dict[str, dict[str, Any]] = {
    "backbone": {
        "weights": "random",
        "frozen_stages": 2,
        "size_divisible": 32,
        "neck": NeckParams(name="fpn"),
    },
    "anchors": {"base_size": 16, "ratios": [0.5, 1.0, 2.0], "scales": [2.0]},
    "rpn": {"channels": 256, "anchors_per_image": 256},
    "proposals": {"pre_nms": 2000, "post_nms": 2000, "min_size": 0.0, "cut_first": True},
    "roi_head": {"hidden": 1024, "dropout": 0.0, "rois_per_image": 512},
    "finetune_joint": {"pre_nms": 2000, "post_nms": 2000},
}


def run(bench: Bench) -> None:
    """Step 1, step 2 and joint training from images, the stem and res2 frozen."""
    backbone = {**CHANGES["backbone"], "name": "resnet18" if bench.small else "resnet50"}
    with bench.photos(16, **{**CHANGES, "backbone": backbone}) as made:
        for precision in ("bf16", "tf32"):
            for images in (1, 2, 8):
                for stage in ("train_rpn_step1", "train_head_step2", "finetune_joint"):
                    if not (bench.small and images > 2):
                        name = f"{stage}, {precision}, {images} image{'s' * (images > 1)}"
                        bench.attempt(name, lambda s=stage, p=precision, i=images: measure(bench, made, s, p, i))


def measure(bench: Bench, made: Photos, stage: str, precision: str, images: int) -> dict[str, float]:
    """Images a second of the loop as it is, and with batches resident on the device."""
    made.params.base = made.params.base.model_copy(update={"precision": precision})
    iterations = 2 if bench.small else max(4, 24 // images)
    schedule = schedule_of(made, iterations, images)
    loader, step = loader_of(made, stage, schedule), step_of(made, stage)
    accelerator = launch(made.params.base)

    def loop(batches: Any) -> None:
        train(step, batches, schedule, made.params.solver, accelerator, stage=stage, on_iteration=lambda loss: None)

    resident = resident_batches(loader, iterations, accelerator.device)
    count = iterations * images
    return {
        "images_per_s": count / bench.seconds(lambda: loop(lambda wanted: prefetch(loader, wanted)), 1, 1),
        "batches_resident": count / bench.seconds(lambda: loop(lambda wanted: [resident[i] for i in wanted]), 1, 0),
    }

"""The training loops of ResNet-50 with FPN, weights drawn at random: images per second by precision and batch size."""

from __future__ import annotations

from benchmarks.gpu_truth.bench import Bench
from benchmarks.gpu_truth.loops import loop_rates
from benchmarks.gpu_truth.training import schedule_of
from benchmarks.photos import Photos
from benchmarks.resnet_fpn import RESNET_FPN
from benchmarks.training_time import loader_of


def run(bench: Bench) -> None:
    """Step 1, step 2 and joint training from images, the stem and res2 frozen."""
    backbone = {**RESNET_FPN["backbone"], "name": "resnet18" if bench.small else "resnet50"}
    with bench.photos(16, **{**RESNET_FPN, "backbone": backbone}) as made:
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
    loaded, resident = loop_rates(bench, made, stage, schedule, loader_of(made, stage, schedule))
    return {"images_per_s": loaded, "batches_resident": resident}

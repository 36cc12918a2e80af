"""The training loops of RetinaNet and FCOS on ResNet-50 with P3 to P7, random weights: images per second by precision
and batch size."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from benchmarks.gpu_truth.bench import Bench
from benchmarks.photos import Photos
from pipeline.artifacts.dense_targets import DenseTargets
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.manifest import write_manifest
from pipeline.building.trunk import load_trunk
from pipeline.dense.batches import DenseLoader
from pipeline.dense.building import fresh_head
from pipeline.dense.contract import train_part
from pipeline.dense.step import DenseStep
from pipeline.dense.targets import TargetSource
from pipeline.feeding.prefetching import prefetch, to_device
from pipeline.feeding.views import ImageViews
from pipeline.params.reading import Params
from pipeline.presets.apply import preset_params
from pipeline.runtime.family_part import family_part
from pipeline.runtime.launcher import launch
from pipeline.runtime.stage import Stage
from pipeline.runtime.torch_seeding import torch_generator
from pipeline.training.loop import train
from pipeline.training.run import epoch_order
from stages.backbone import backbone
from stages.dense_targets import dense_targets

FAMILIES = ("retinanet", "fcos")
_CLASSES = 81


def run(bench: Bench) -> None:
    """Each family's own targets and losses, from images, the stem and res2 frozen."""
    with bench.photos(16, backbone={"weights": "random"}) as photos:
        for family in FAMILIES:
            made = Photos(photos.data, params_of(bench, photos.params, family))
            prepare(made, family)
            for precision in ("bf16", "tf32"):
                for images in (1, 2, 8):
                    if not (bench.small and images > 2):
                        name = f"{family}, {precision}, {images} image{'s' * (images > 1)}"
                        bench.attempt(name, lambda f=family, m=made, p=precision, i=images: measure(bench, m, f, p, i))


def params_of(bench: Bench, shared: Params, family: str) -> Params:
    """The family's recipe for COCO, on the images that are there."""
    params = preset_params(f"coco_{family}_resnet50")
    params.base, params.resize = shared.base, shared.resize
    changes = {"weights": "random", "name": "resnet18" if bench.small else "resnet50"}
    params.backbone = params.backbone.model_copy(update=changes)
    return params


def prepare(made: Photos, family: str) -> None:
    """Targets and the first weights, by the stages."""
    for name, inputs, work in (
        (f"{family}_targets", {"resize": "resize"}, dense_targets),
        (f"{family}_backbone", {}, backbone),
    ):
        out = made.data / name
        out.mkdir()
        part = family_part(family, "dense_targets") if work is dense_targets else None
        paths: dict[str, Any] = {option: made.data / folder for option, folder in inputs.items()}
        paths |= dict.fromkeys(("weights", "initial", "raw", "dataset"))
        with contextlib.redirect_stderr(io.StringIO()):
            work(Stage(name, made.params, out, paths, part=part))
        write_manifest(out, name)


def measure(bench: Bench, made: Photos, family: str, precision: str, images: int) -> dict[str, float]:
    """Images a second of the loop as it is, and with batches resident on the device."""
    params, stage = made.params, f"train_{family}"
    params.base = params.base.model_copy(update={"precision": precision})
    iterations = 2 if bench.small else max(4, 24 // images)
    changes = {"iterations": iterations, "images_per_iteration": images, "lr": 1e-4, "lr_drop_at": []}
    schedule = getattr(params, stage).model_copy(update={**changes, "warmup_iterations": 0})
    part = train_part(family_part(family, "train_dense"))
    trunk = load_trunk(made.data / f"{family}_backbone", params.backbone)
    head = fresh_head(part, trunk.layout, _CLASSES, params, torch_generator(params.base.seed, stage, "head"))
    targets = TargetSource(
        DenseTargets(made.data / f"{family}_targets"), GroundTruth(made.data / "resize"), head.locations
    )
    order = epoch_order(made.entries(), schedule, params.base.seed, stage)
    loader = DenseLoader(order, ImageViews(made.images()), targets, params.base.seed, stage)
    accelerator = launch(params.base)
    step = DenseStep(trunk, head, part, params)

    def loop(batches: Any) -> None:
        train(step, batches, schedule, params.solver, accelerator, stage=stage, on_iteration=lambda loss: None)

    resident = [to_device(loader(iteration), accelerator.device) for iteration in range(iterations)]
    count = iterations * images
    return {
        "images_per_s": count / bench.seconds(lambda: loop(lambda wanted: prefetch(loader, wanted)), 1, 1),
        "batches_resident": count / bench.seconds(lambda: loop(lambda wanted: [resident[i] for i in wanted]), 1, 0),
    }

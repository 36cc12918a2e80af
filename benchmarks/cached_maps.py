"""Steps 3 and 4 on cached feature maps, against the same training with the frozen trunk computed each time.

    python -m benchmarks.cached_maps [--sides 300 600] [--runs 7]

Both are the project's training loop in the same precision with the same samples; one reads the features stage's maps,
the other the images, which the frozen trunk turns into maps without a gradient. Layers as in the preset voc6_vgg16. An
epoch has as many iterations in both, so that the ratio of iterations is that of epochs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.floors import head_flops, head_weight_bytes, rpn_flops, trunk_flops
from benchmarks.measure import interleaved, measured_rates
from benchmarks.page import Row, table, write_section
from benchmarks.photos import Photos, parser, prepared
from benchmarks.training_time import loader_of, our_loop, step_of
from pipeline.artifacts.maps import FeatureMaps
from pipeline.families.faster_rcnn.training.head_step import HeadStep
from pipeline.families.faster_rcnn.training.rpn_step import RPNStep
from pipeline.feeding.views import MapViews
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.schedule import Schedule
from stages.features import features

NAME = "cached_maps"
BARS = {
    ("train_rpn_step3", 300): 1 / 5,
    ("train_rpn_step3", 600): 1 / 5,
    ("train_head_step4", 300): 1 / 2,
    ("train_head_step4", 600): 1 / 4,
}
_TRAINED_LIKE = {"train_rpn_step3": "train_rpn_step1", "train_head_step4": "train_head_step2"}
ABOUT = """Milliseconds of training per image in steps 3 and 4, median (least to largest) of {runs} runs in turn. *Ours*
reads the stored maps of the frozen trunk; the *peer* is the same loop which computes them again from the images in
every iteration, in the same precision, without a gradient. The bars are 5 times as fast in step 3 (.2), and in step 4
2 times at 300 (.5) and 4 times at 600 (.25). The floor is what the layers that are trained compute, forward and
backward, over the machine's rate in bf16 ({rate:.2f} Tflop/s), and in step 4 the bytes that the weights of fc6 and fc7
must move in each iteration of two images, at {bandwidth:.0f} GB/s; the trunk alone needs {trunk} at that rate."""


def loop(photos: Photos, stage: str, schedule: Schedule, *, on_maps: bool) -> Callable[[], object]:
    """The training loop of step 3 or 4, from stored maps or with the frozen trunk."""
    step = step_of(photos, _TRAINED_LIKE[stage])
    trunk = step.trunk
    assert isinstance(trunk, Trunk)
    for weight in trunk.parameters():
        weight.requires_grad_(False)
    source = MapViews(FeatureMaps(photos.data / "features")) if on_maps else None
    loader = loader_of(photos, _TRAINED_LIKE[stage], schedule, source)
    module: nn.Module = step
    if on_maps:
        params = photos.params
        if isinstance(step, RPNStep):
            module = RPNStep(step.rpn, params.rpn, None, trunk.layout)
        else:
            module = HeadStep(step.head, params.roi_head, None)
    return our_loop(photos, stage, schedule, module, loader)


def measure(photos: Photos, stage: str, runs: int) -> Row:
    """One step at one size."""
    params, side = photos.params, photos.params.resize.shorter_side
    changes = {"iterations": len(photos.entries()) // 2, "lr": 1e-3, "lr_drop_at": [], "warmup_iterations": 0}
    schedule: Schedule = getattr(params, stage).model_copy(update=changes)
    images = schedule.iterations * schedule.images_per_iteration
    contestants = {name: loop(photos, stage, schedule, on_maps=name == "ours") for name in ("ours", "peer")}
    times = interleaved(contestants, runs, per=images / 1e3)
    sizes = list(photos.entries().values())
    rates = measured_rates()
    if stage == "train_rpn_step3":
        floor = 3 * sum(rpn_flops(params, size) for size in sizes) / len(sizes) / rates.bf16
    else:
        moved = head_weight_bytes(params) / schedule.images_per_iteration
        floor = 3 * head_flops(params, params.roi_head.rois_per_image, 7) / rates.bf16 + moved / rates.bytes
    title = f"step {stage[-1]}, shorter side {side}"
    return Row(title, times["ours"], times["peer"], BARS.get((stage, side)), floor * 1e3)


def main() -> None:
    own = parser(__doc__)
    own.add_argument("--steps", type=int, nargs="+", choices=(3, 4), default=[3, 4])
    arguments = own.parse_args()
    rows, trunk = [], []
    for side in arguments.sides:
        with prepared(NAME, arguments, side, 6) as photos:
            photos.run("features", features, resize="resize", frozen_features="frozen_features", trunk="backbone")
            torch.set_num_threads(photos.params.base.threads)
            for step in arguments.steps:
                rows.append(measure(photos, {3: "train_rpn_step3", 4: "train_head_step4"}[step], arguments.runs))
                print(table(rows), flush=True)
            sizes = list(photos.entries().values())
            milliseconds = sum(map(trunk_flops, sizes)) / len(sizes) / measured_rates().bf16 * 1e3
            trunk.append(f"{milliseconds:.0f} ms an image at {side}")
    rates = measured_rates()
    text = ABOUT.format(
        runs=arguments.runs, rate=rates.bf16 / 1e12, bandwidth=rates.bytes / 1e9, trunk=" and ".join(trunk)
    )
    write_section(NAME, "Cached feature maps", text, rows)


if __name__ == "__main__":
    main()

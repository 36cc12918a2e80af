"""Time of ResNet-50 with FPN per image, against torchvision's FasterRCNN of the same weights: training and inference.

    python -m benchmarks.resnet_time [--parts training inference] [--precisions bf16 float32] [--sides 300 600]

Both train jointly: the stem and res2 frozen, on the same photos two at a time, 2,000 candidates of a level and 2,000
proposals an image, 512 RoIs and 256 anchors drawn from each. Both detect with 1,000 candidates of a level and 1,000
proposals. The ResNet's weights are drawn at random, the same in both; no time depends on what a network has learned,
except that of NMS. Steps 1 and 2 stand beside joint training, whose parts they are; torchvision has none.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import FasterRCNN

from benchmarks.inference_time import detect_all, pixels_of, precision
from benchmarks.measure import interleaved, measured_rates
from benchmarks.page import Row, write_section
from benchmarks.peer import Losses, PeerBatch, Target, decoded, peer_loop
from benchmarks.photos import Photos, parser, prepared
from benchmarks.resnet_fpn import RESNET_FPN
from benchmarks.resnet_peer import build_resnet_peer
from benchmarks.training_time import CLASSES, LR, loader_of, our_loop, step_of
from pipeline.building.trunk import load_trunk, new_trunk
from pipeline.families.faster_rcnn.building.rpn import new_rpn
from pipeline.params.schedule import Schedule
from pipeline.runtime.inference import for_inference
from pipeline.runtime.launcher import launch
from pipeline.runtime.stopping import end_with_parent
from pipeline.training.run import epoch_order
from tests.parity.comparison import Parts, ours, random_parts

NAME = "resnet_time"
PARTS = ("training", "inference")
BARS = {"training": 0.9, "inference": 1.0}
STAGE = "finetune_joint"
CHANGES: dict[str, dict[str, Any]] = {
    **RESNET_FPN,
    "roi_head": {**RESNET_FPN["roi_head"], "pool": "roi_align"},
    "detect": {"pre_nms": 1000, "proposals": 1000, "min_size": 0.0, "cut_first": True, "nms_iou": 0.5},
}
ABOUT = {
    "training": """Milliseconds of joint training per image, median (least to largest) of {runs} runs in turn, each of
{iterations} iterations of two images. Ours is the whole iteration of the training loop: images and targets read,
anchors, proposals and RoIs drawn, losses, backward pass, clipping, SGD. The peer is torchvision's ResNet-50 with FPN in
the same precision, given images that are decoded already; in bf16 it has our autocast, channels_last, fused SGD and
clipping. The floor is the floating point operations of trunk, neck and head forward and backward, of frozen stages and
RPN forward, over the measured rate ({rate:.2f} Tflop/s). Steps 1 and 2 have no peer.""",
    "inference": """Milliseconds per image from the pixels of the resized photo to detections, median (least to largest)
of {runs} runs in turn over {images} photos, one at a time. The peer is torchvision's ResNet-50 with FPN of the same
weights, in the same precision and, in bf16, in channels_last. The floor is the floating point operations of trunk,
neck, RPN and head over the measured rate ({rate:.2f} Tflop/s).""",
}
IMAGES = 4


class PeerJoint(nn.Module):
    """The whole of torchvision's network, in training."""

    def __init__(self, model: FasterRCNN) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: list[Tensor], targets: list[Target], proposals: list[Tensor]) -> Losses:
        """All four losses; `proposals` are not needed."""
        found: Losses = self.model(images, targets)
        return found


def peer_of(parts: Parts, photos: Photos) -> FasterRCNN:
    """torchvision's network with the weights of ours."""
    trunk, rpn, head = parts
    model = build_resnet_peer(photos.params, photos.data, CLASSES)
    assert trunk.neck is not None
    own = {f"backbone.fpn.{name}": value for name, value in trunk.neck.state_dict().items()}
    for kind in ("weight", "bias"):
        background, foreground = getattr(rpn.cls_score, kind).detach().chunk(2)
        own |= {
            f"rpn.head.conv.0.0.{kind}": getattr(rpn.conv, kind),
            f"rpn.head.cls_logits.{kind}": foreground - background,
            f"rpn.head.bbox_pred.{kind}": getattr(rpn.bbox_pred, kind),
            f"roi_heads.box_head.fc6.{kind}": getattr(head.fc6, kind),
            f"roi_heads.box_head.fc7.{kind}": getattr(head.fc7, kind),
            f"roi_heads.box_predictor.cls_score.{kind}": getattr(head.cls_score, kind),
            f"roi_heads.box_predictor.bbox_pred.{kind}": getattr(head.bbox_pred, kind),
        }
    missing, unknown = model.load_state_dict(own, strict=False)
    assert not unknown and all(name.startswith("backbone.body.") for name in missing)
    return model.eval()


def floors(photos: Photos, size: tuple[int, int]) -> dict[str, float]:
    """Floating point operations for an image of (H, W): of an iteration of joint training, and of inference."""
    params = photos.params
    with torch.device("meta"):
        trunk = new_trunk(params.backbone)
        rpn, image = new_rpn(trunk.layout, params.anchors, params.rpn), torch.empty(1, 3, *size)
        frozen = _flops(lambda: trunk.frozen(image))
        trained = _flops(lambda: trunk.trained(trunk.frozen(image))) - frozen
        of_rpn = _flops(lambda: rpn(trunk(image))) - frozen - trained
    own = params.roi_head
    of_roi = 2.0 * own.hidden * (256 * own.output_size**2 + own.hidden + 5 * CLASSES)
    return {
        "training": frozen + 3 * trained + of_rpn + 3 * of_roi * own.rois_per_image,
        "inference": frozen + trained + of_rpn + of_roi * params.detect.proposals,
    }


def _flops(work: Callable[[], object]) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def contestants_in_training(photos: Photos, schedule: Schedule, *, bf16: bool) -> dict[str, Callable[[], object]]:
    """Joint training, ours and the peer's, and our steps 1 and 2."""
    order = epoch_order(photos.entries(), schedule, photos.params.base.seed, STAGE)
    batches: list[PeerBatch] = [(*decoded(photos, order(iteration)[1]), []) for iteration in range(schedule.iterations)]
    peer = PeerJoint(build_resnet_peer(photos.params, photos.data, CLASSES))
    loops: dict[str, Callable[[], object]] = {"peer": peer_loop(peer, batches, LR, bf16=bf16)}
    for stage in (STAGE, "train_rpn_step1", "train_head_step2"):
        loops[stage] = our_loop(photos, stage, schedule, step_of(photos, stage), loader_of(photos, stage, schedule))
    return loops


def contestants_in_inference(photos: Photos, *, bf16: bool) -> dict[str, Callable[[], object]]:
    """Detection, ours and the peer's."""
    accelerator = launch(photos.params.base)
    pixels = pixels_of(photos.images("test"), IMAGES, accelerator.device)
    parts = random_parts(load_trunk(photos.data / "backbone", photos.params.backbone), photos.params, CLASSES, 0)
    peer = peer_of(parts, photos)
    if bf16:
        peer = peer.to(memory_format=torch.channels_last)
    network = ours(tuple(for_inference(part, accelerator) for part in parts), photos.params)  # type: ignore[arg-type]
    floats = [image.float() / 255 for image in pixels]

    def theirs() -> None:
        with precision(accelerator.device, bf16):
            for image in floats:
                peer([image])

    return {"peer": theirs, "ours": lambda: detect_all(network, pixels, bf16=bf16)}


@contextlib.contextmanager
def photos_of(arguments: argparse.Namespace, side: int, *, training: bool, bf16: bool) -> Iterator[Photos]:
    """Photos at a shorter side with the parameters of the comparison."""
    base = {"base": {"precision": "bf16" if bf16 else "float32"}}
    with prepared(NAME, arguments, side, 16, IMAGES, targets=training, **CHANGES, **base) as photos:
        yield photos


def measure(arguments: argparse.Namespace, side: int, part: str, kind: str) -> tuple[list[Row], float]:
    """The rows of one comparison, and the rate of its precision."""
    end_with_parent()
    training, bf16 = part == "training", kind == "bf16"
    with photos_of(arguments, side, training=training, bf16=bf16) as photos:
        if training:
            changes = {"iterations": 2, "images_per_iteration": 2, "lr": LR, "lr_drop_at": [], "warmup_iterations": 0}
            schedule = photos.params.finetune_joint.model_copy(update=changes)
            loops, images = contestants_in_training(photos, schedule, bf16=bf16), 4
        else:
            loops, images = contestants_in_inference(photos, bf16=bf16), IMAGES
        times = interleaved(loops, arguments.runs, per=images / 1e3)
        rate = getattr(measured_rates(), kind)
        sizes = list(photos.entries().values())
        floor = sum(floors(photos, size)[part] for size in sizes) / len(sizes) / rate * 1e3
        name = f"{kind}, shorter side {side}"
        rows = [Row(name, times[STAGE if training else "ours"], times["peer"], BARS[part], floor)]
        if training:
            rows += [
                Row(f"{name}, step {stage[-1]}", times[stage]) for stage in ("train_rpn_step1", "train_head_step2")
            ]
        return rows, rate


def main() -> None:
    own = parser(__doc__)
    own.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    own.add_argument("--precisions", nargs="+", choices=("bf16", "float32"), default=["bf16", "float32"])
    arguments: argparse.Namespace = own.parse_args()
    for part, kind in itertools.product(arguments.parts, arguments.precisions):
        rows: list[Row] = []
        rate = 0.0
        for side in arguments.sides:
            # In a process of its own, as several trainings take gigabytes, which malloc does not give back.
            with ProcessPoolExecutor(1, get_context("spawn")) as process:
                more, rate = process.submit(measure, arguments, side, part, kind).result()
            rows += more
        about = ABOUT[part].format(runs=arguments.runs, iterations=2, images=IMAGES, rate=rate / 1e12)
        title = f"ResNet-50 with FPN, {part} in {kind}"
        write_section(NAME, title, about, rows, options=f"--parts {part} --precisions {kind}")


if __name__ == "__main__":
    main()

"""Time of inference per image, against torchvision's FasterRCNN with the same weights.

    python -m benchmarks.inference_time [--sides 300 600] [--runs 7]
    python -m benchmarks.inference_time --trained data [--sides 300]

The peer is torchvision's network of the same weights as `frcnn export` makes it, with torchvision's own VGG16 layers
and its own RoIAlign kernel in place of ours. Both get the pixels of the resized image, decoded; both propose, classify
and suppress with the same counts and thresholds, image by image. Detections are compared on equal pixels.

Without --trained, the weights are ImageNet's trunk and heads drawn at random, seeded, and no mAP is reported. With it,
they are those of the joint network of a finished voc6_vgg16 run, and mAP is taken on all test images.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import vgg16
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN
from torchvision.ops import roi_align

from benchmarks.floors import head_flops, rpn_flops, trunk_flops
from benchmarks.measure import interleaved, measured_rates
from benchmarks.page import Row, table, write_section
from benchmarks.peer_training import read_truth
from benchmarks.photos import Photos, parser, prepared
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.building.trunk import load_trunk
from pipeline.families.faster_rcnn.building.roi_head import load_head
from pipeline.families.faster_rcnn.building.rpn import load_rpn
from pipeline.families.faster_rcnn.nn.network import FasterRCNN
from pipeline.families.faster_rcnn.params.typed import typed
from pipeline.metrics.rows import DetectionRows
from pipeline.metrics.voc_ap import voc_ap
from pipeline.nn.postprocess import DetectedBoxes
from pipeline.params.reading import Params
from pipeline.runtime.inference import for_inference
from pipeline.runtime.launcher import launch
from tests.parity.comparison import Parts, detect_with_theirs, differences, exported, ours, random_parts

NAME = "inference_time"
ABOUT = """Milliseconds per image from the pixels of the resized photo to detections, median (least to largest) of
{runs} runs in turn over {images} photos. The peer is torchvision's FasterRCNN with the same weights in float32, with
its own VGG16 layers, transform and RoIAlign. The floor is the floating point operations of trunk, RPN and head on
{proposals} proposals over the machine's rate in the row's precision ({float32:.2f} and {bf16:.2f} Tflop/s). Weights:
{weights}.

{agreement}"""


class PeerPooling(nn.Module):
    """torchvision's RoIAlign kernel, half-pixel aligned as the trained network pools."""

    def __init__(self, output_size: int, stride: int) -> None:
        super().__init__()
        self._output_size, self._stride = output_size, stride

    def forward(self, features: Mapping[str, Tensor], boxes: list[Tensor], sizes: Sequence[tuple[int, int]]) -> Tensor:
        (maps,) = features.values()
        return roi_align(maps, boxes, self._output_size, 1 / self._stride, sampling_ratio=2, aligned=True)


def peer_of(parts: Parts, params: Params) -> TorchvisionFasterRCNN:
    """torchvision's network with nothing of ours in what takes time."""
    model = exported(parts, params)
    backbone = vgg16().features[:-1]
    backbone.load_state_dict(parts[0].layers.state_dict())
    backbone.out_channels = parts[0].layout.channels
    model.backbone = backbone.eval().to(memory_format=torch.channels_last)
    model.roi_heads.box_roi_pool = PeerPooling(params.roi_head.output_size, parts[0].layout.strides[0])
    return model


def parts_of(photos: Photos, trained: Path | None) -> Parts:
    """Trained parts, or ImageNet's trunk under random heads."""
    params = photos.params
    if trained is None:
        return random_parts(load_trunk(photos.data / "backbone", params.backbone), params, 7, params.base.seed)
    folder = trained / "finetune_joint"
    trunk = load_trunk(folder, params.backbone)
    rpn = load_rpn(folder, trunk.layout, params.anchors, params.rpn)
    return trunk, rpn, load_head(folder, trunk.layout, params.roi_head, params.backbone)


@contextlib.contextmanager
def precision(device: torch.device, bf16: bool) -> Iterator[None]:
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        yield


def detect_all(network: FasterRCNN, pixels: Sequence[Tensor], *, bf16: bool) -> list[DetectedBoxes]:
    """Our detections in (3, H, W) uint8 images, one after another; on their device."""
    found = []
    for image in pixels:
        with precision(image.device, bf16):
            found += network(image[None], [(image.shape[1], image.shape[2])], [(1.0, 1.0)])
    return found


def mean_ap(found: Sequence[DetectedBoxes], images: ResizedImages, data: Path) -> float:
    """VOC all-point mAP at IoU .5, in original pixels."""
    scales = [np.array([*info.scale, *info.scale], dtype=np.float32) for info in images]
    boxes = np.concatenate([own.boxes.float().cpu().numpy() / scale for own, scale in zip(found, scales, strict=True)])
    index = np.concatenate([np.full(len(own.scores), place) for place, own in enumerate(found)])
    labels, scores = (
        np.concatenate([getattr(own, name).cpu().numpy() for own in found]) for name in ("labels", "scores")
    )
    classes = json.loads((data / "resize" / "classes.json").read_text(encoding="utf-8"))
    judged = DetectionRows(index, labels.astype(np.int64), scores.astype(np.float32), boxes)
    return voc_ap(judged, read_truth(data, images), len(classes)).mean_all_point


def pixels_of(images: ResizedImages, count: int | None, device: torch.device) -> list[Tensor]:
    """(3, H, W) uint8 images in the layout in which they are stored, on a device."""
    stored = [images.pixels(Entry(info.image_id)).copy() for info in list(images)[:count]]
    return [torch.from_numpy(pixels).permute(2, 0, 1).to(device) for pixels in stored]


def agreement_of(network: FasterRCNN, peer: TorchvisionFasterRCNN, pixels: Sequence[Tensor], side: int) -> str:
    """How far float32 detections lie apart."""
    total = differences(*_pair(network, peer, pixels[0]))
    for image in pixels[1:]:
        total.add(differences(*_pair(network, peer, image)))
    return (
        f"At {side} in float32, {total.pairs} detections pair up, their scores equal to {total.score:.1e}, their boxes "
        f"to {total.box:.1e} px; {len(total.unpaired)} have no partner."
    )


def _pair(network: FasterRCNN, peer: TorchvisionFasterRCNN, image: Tensor) -> tuple[DetectedBoxes, dict[str, Tensor]]:
    (found,) = detect_all(network, [image], bf16=False)
    theirs = {name: value.cpu() for name, value in detect_with_theirs(peer, image).items()}
    return DetectedBoxes(*(getattr(found, field.name).cpu() for field in fields(DetectedBoxes))), theirs


def measure(photos: Photos, trained: Path | None, runs: int) -> tuple[list[Row], str]:
    """Rows of one size, and what is to be said of its detections."""
    params, side = typed(photos.params), photos.params.resize.shorter_side
    # torchvision has no least size of proposals in pixels of the original image.
    params.detect = params.detect.model_copy(update={"min_size": 0.0})
    images = photos.images("test")
    # First, as it says too that float32 is not to be TF32 on a GPU.
    accelerator = launch(params.base)
    device = accelerator.device
    pixels = pixels_of(images, 8, device)
    network = ours(tuple(part.to(device) for part in parts_of(photos, trained)), params)  # type: ignore[arg-type]
    peer = peer_of(parts_of(photos, trained), params).to(device)
    low = ours(tuple(for_inference(part, accelerator) for part in parts_of(photos, trained)), params)  # type: ignore[arg-type]
    floats = [image.float() / 255 for image in pixels]

    def theirs() -> None:
        with torch.inference_mode():
            for image in floats:
                peer([image])

    contestants: dict[str, Callable[[], object]] = {
        "peer": theirs,
        "float32": lambda: detect_all(network, pixels, bf16=False),
        "bf16": lambda: detect_all(low, pixels, bf16=True),
    }
    times = interleaved(contestants, runs, per=len(pixels) / 1e3)
    rates = measured_rates(device)
    sizes = [(image.shape[1], image.shape[2]) for image in pixels]
    flops = sum(trunk_flops(size) + rpn_flops(params, size) for size in sizes) / len(sizes)
    flops += head_flops(params, params.detect.proposals, 7)
    rows = [
        Row(f"{name}, shorter side {side}", times[name], times["peer"], bar, flops / getattr(rates, name) * 1e3)
        for name, bar in (("float32", 1.0), ("bf16", 0.5))
    ]
    agreements = agreement_of(network, peer, pixels, side)
    if trained is not None:
        every = pixels_of(images, None, device)
        scores = [
            mean_ap(detect_all(own, every, bf16=bf16), images, photos.data)
            for own, bf16 in ((network, False), (low, True))
        ]
        agreements += (
            f" mAP@.5 on {len(every)} test photos: {scores[0]:.4f} in float32, {scores[1]:.4f} in bf16, apart by "
            f"{abs(scores[0] - scores[1]):.4f} (at most .005 is asked)."
        )
    return rows, agreements


def main() -> None:
    own = parser(__doc__)
    own.add_argument("--trained", type=Path, help="data folder of a finished voc6_vgg16 run")
    arguments: argparse.Namespace = own.parse_args()
    rows: list[Row] = []
    agreements: list[str] = []
    proposals = 0
    for side in arguments.sides:
        test = 8 if arguments.trained is None else 10_000
        with prepared(NAME, arguments, side, 1, test, targets=False) as photos:
            proposals = photos.params.detect.proposals
            more, agreement = measure(photos, arguments.trained, arguments.runs)
            rows, agreements = rows + more, [*agreements, agreement]
            print(table(rows), flush=True)
    rates = measured_rates()
    trained = "of a trained joint network" if arguments.trained else "ImageNet's trunk under random heads"
    about = ABOUT.format(
        runs=arguments.runs,
        images=8,
        proposals=proposals,
        float32=rates.float32 / 1e12,
        bf16=rates.bf16 / 1e12,
        weights=trained,
        agreement="\n".join(agreements),
    )
    write_section(NAME, "Time of inference", about, rows)


if __name__ == "__main__":
    main()

"""Do torchvision's RetinaNet, FCOS and SSD300 and ours, of the same weights, find the same in photos?

    python -m benchmarks.dense_parity --photos ../shared/data/voc6_mini

Weights are random, their outputs spread so that scores are; a row for the background, which ours has not, says no. Both
get the same pixels: each photo resized, then padded with black to a multiple of 32 px and to the largest stride, as
torchvision predicts in the padding too and ours does not. Detections are not cut to a number an image, and
torchvision's without area, which ours drops, do not count. Prints the largest difference of the heads' outputs, how
many detections are paired, and each one without a pair with the threshold that it is near to. The exit status is 1
where one is near none.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.published_models import DETECTORS
from benchmarks.torchvision_pairs import Pairs, float32_on, on_cpu, pair
from benchmarks.torchvision_parity import photos_of
from pipeline.artifacts.weights import restore, select_part
from pipeline.building.memory_format import channels_last
from pipeline.building.published import published_detector
from pipeline.building.torchvision_dense import NOT_READ
from pipeline.building.trunk import new_trunk
from pipeline.datasets.images import read_rgb
from pipeline.datasets.resizing import resize_rgb
from pipeline.dense.building import new_head
from pipeline.dense.network import DenseDetector, OfImage
from pipeline.families.registry import family_of, part_of
from pipeline.nn.points import centres_and_strides
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from pipeline.presets.defaults import default_text
from pipeline.presets.overlay import set_parameter
from pipeline.runtime.yaml_files import EditedYaml

CLASSES, MOST = 7, 10_000
NAMES = tuple(name for name, own in DETECTORS.items() if own.family != "faster_rcnn_joint")
_MULTIPLE = 32
_SPREADS = {
    "cls_logits": 0.03,
    "bbox": 0.01,
    "classification_head.module_list": 0.005,
    "regression_head.module_list": 0.002,
}
_OUTPUTS = {"cls_logits": "classes", "bbox_regression": "boxes", "bbox_ctrness": "centre-ness"}


@dataclass(frozen=True)
class Both:
    """A network twice: theirs, and ours with its parameters and the names of its outputs in the order of theirs."""

    theirs: Any
    ours: DenseDetector
    params: Params


def params_for(name: str, side: int) -> Params:
    """The parameters of a network of torchvision's, for photos of this shorter side; SSD300's are of 300 x 300 px."""
    published = DETECTORS[name]
    edited = EditedYaml(default_text(family_of(published.family)), "dense_parity")
    detect = f"detect_{published.family}"
    resize = {"resize.shorter_side": side, "resize.longer_side": round(side * 1333 / 800)}
    for key, value in {**published.settings, **resize, f"{detect}.per_image": MOST}.items():
        if not key.startswith("evaluate."):
            set_parameter(edited.content, key, value)
    set_parameter(edited.content, "backbone.weights", "random")
    return Params(check_params(edited.content, "dense_parity", limits=False), published.family)


def both(name: str, side: int, device: torch.device) -> Both:
    """The network with random weights, both on a device."""
    published, params = DETECTORS[name], params_for(name, side)
    torch.manual_seed(0)
    model = published.builder(weights=None, weights_backbone=None, num_classes=CLASSES, detections_per_img=MOST)
    _spread(model)
    found = published_detector(model.state_dict(), name)
    assert found is not None
    part: Any = part_of(published.family, "detect_dense")
    trunk = new_trunk(params.backbone)
    head = new_head(part, trunk.layout, CLASSES, params)
    restore(trunk, select_part(found.state, "trunk"), name)
    restore(head, select_part(found.state, "head"), name)
    if params.backbone.norm_epsilon == 0:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 1e-30  # some versions of torch refuse 0
    network = DenseDetector(channels_last(trunk).eval().to(device), channels_last(head).eval().to(device), part, params)
    return Both(model.eval().to(device), network, params)


def _spread(model: Any) -> None:
    """Weights that make outputs of ordinary size."""
    for module in model.backbone.modules():
        if hasattr(module, "bn3"):  # else random maps grow from block to block
            nn.init.constant_(module.bn3.weight, 0.5)
    for name, weight in model.head.named_parameters():
        if weight.ndim == 4:
            spreads = [std for part, std in _SPREADS.items() if part in name]
            nn.init.normal_(weight, std=spreads[0] if spreads else (2 / weight[0].numel()) ** 0.5)
        elif "cls_logits.bias" in name:
            nn.init.constant_(weight, -2.0)
        if "cls_logits" in name:
            weight.data.unflatten(0, (-1, CLASSES))[:, 0] = NOT_READ if weight.ndim == 1 else 0


@torch.inference_mode()
def compared(own: Both, pixels: Tensor) -> tuple[dict[str, float], Pairs]:
    """The largest difference of each output, as a share of the largest value, and the pairs of detections, in (3, H, W)
    uint8 pixels."""
    size = (int(pixels.shape[1]), int(pixels.shape[2]))
    (outputs,) = own.ours.outputs(pixels[None], [size])
    found = own.ours.decode(outputs, size)
    model, caught = own.theirs, []
    if hasattr(model.transform, "fixed_size") and own.params.resize.rule != "fixed":
        model.transform.min_size, model.transform.max_size = (min(size),), max(size)
    hook = model.head.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    try:
        (theirs,) = model([pixels.float() / 255])
    finally:
        hook.remove()
    filled = (theirs["boxes"][:, 2:] > theirs["boxes"][:, :2]).all(dim=1)
    rule = getattr(own.params, f"detect_{own.params.family}")
    pairs = pair(
        on_cpu(found.boxes, found.scores, found.labels),
        on_cpu(*(theirs[name][filled] for name in ("boxes", "scores", "labels"))),
        floor=rule.score_threshold,
        nms_iou=rule.nms_iou,
        most=MOST,
        cuts=_cuts(own, outputs),
    )
    expected = {name: value[0] for name, value in caught[0].items()}
    if "bbox_ctrness" in expected:  # FCOS's edges, of theirs in strides
        _, strides = centres_and_strides(outputs.grid, pixels.device)
        expected["bbox_regression"] = expected["bbox_regression"] * strides[:, None]
    return _gaps(list(outputs.outputs.values()), expected), pairs


def _cuts(own: Both, outputs: OfImage) -> list[float]:
    """The scores of the last candidates of each level, or of each class, that has more."""
    part: Any = part_of(own.params.family, "detect_dense")
    rule = getattr(own.params, f"detect_{own.params.family}")
    scores = part.class_scores(outputs.outputs)
    by_level = hasattr(rule, "per_level")
    groups, most = (scores.split(outputs.grid.counts), rule.per_level) if by_level else (scores.t(), rule.per_class)
    return [float(torch.topk(group.flatten(), most).values[-1]) for group in groups if group.numel() > most]


def _gaps(ours: list[Tensor], theirs: dict[str, Tensor]) -> dict[str, float]:
    found = {}
    for name, title in _OUTPUTS.items():
        if name not in theirs:
            continue
        expected = theirs[name]
        if title == "classes" and not any(own.shape == expected.shape for own in ours):
            expected = expected[:, 1:]  # theirs has a row for the background
        same = [own for own in ours if own.reshape(len(own), -1).shape == expected.shape]
        gaps = [float((own.reshape(expected.shape) - expected).abs().max() / expected.abs().max()) for own in same]
        found[title] = min(gaps, default=float("nan"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a tree in VOC's or KITTI's layout")
    parser.add_argument("--detectors", nargs="+", choices=NAMES, default=NAMES, help="default: all")
    parser.add_argument("--side", type=int, default=300, help="shorter side of the resized photos, px")
    parser.add_argument("--most", type=int, help="so many photos alone")
    parser.add_argument("--device", default="cpu", help="that both compute on; default: %(default)s")
    arguments = parser.parse_args()
    device = float32_on(arguments.device)
    photos, unexplained = photos_of(arguments.photos)[: arguments.most], 0
    for name in arguments.detectors:
        own = both(name, arguments.side, device)
        multiple = 1 if own.params.resize.rule == "fixed" else _MULTIPLE
        least = 1 if multiple == 1 else own.ours.trunk.layout.least_side
        gaps, pairs = dict[str, float](), Pairs()
        for photo in photos:
            pixels = torch.from_numpy(resize_rgb(read_rgb(photo), own.params.resize).copy()).permute(2, 0, 1).to(device)
            down, right = (max(-side % multiple, least - side) for side in pixels.shape[1:])
            of_photo, found = compared(own, functional.pad(pixels, (0, right, 0, down)))
            gaps = {title: max(gap, gaps.get(title, 0.0)) for title, gap in of_photo.items()}
            for line in found.unpaired:
                print(f"  {name}, {photo.name}: without a pair: {line}")
            pairs.add(found)
        outputs = ", ".join(f"{title} to {gap:.1e}" for title, gap in gaps.items())
        print(
            f"{name}, {len(photos)} photos: outputs, of the largest, {outputs}; {pairs.count} pairs of detections, "
            f"scores to {pairs.score:.1e}, boxes to {pairs.box:.1e} px; {len(pairs.unpaired)} without a pair, "
            f"{pairs.unexplained} near no threshold",
            flush=True,
        )
        unexplained += pairs.unexplained
    return int(unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())

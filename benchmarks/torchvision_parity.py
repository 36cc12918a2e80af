"""Do torchvision's Faster R-CNN on ResNet-50 with FPN and ours, of the same weights, find the same in photos?

    python -m benchmarks.torchvision_parity --photos ../shared/data/voc6_mini --weights RESNET50

Both get the same resized pixels, which torchvision keeps, and pad them to 32. Once of random weights, and with
`--weights` once with an ImageNet ResNet-50 of torchvision's names (`--stride-in-1x1` where it is Caffe's); heads are
random, their outputs spread so that scores are. Prints how many proposals and detections are paired, the largest
differences, and each one without a pair with the threshold that it is near to. The exit status is 1 where one is near
none.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, fasterrcnn_resnet50_fpn

from benchmarks.torchvision_pairs import (
    AS_TORCHVISION,
    Pairs,
    float32_on,
    found_by_ours,
    found_by_theirs,
    pair,
    parts_of,
)
from pipeline.datasets.images import read_rgb
from pipeline.datasets.resizing import resize_rgb
from pipeline.families.registry import DEFAULT, family_of
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from pipeline.presets.defaults import default_text
from pipeline.presets.overlay import apply_overlay
from pipeline.runtime.yaml_files import parse_yaml

CLASSES = 7


def photos_of(root: Path) -> list[Path]:
    """The test photos of a tree in VOC's layout, or those of val.txt in KITTI's."""
    lists = (root / "ImageSets/Main/test.txt", root / "val.txt")
    names = next(file for file in lists if file.is_file()).read_text(encoding="utf-8").split()
    folders = (root / "JPEGImages", root / "training/image_2")
    files = {path.stem: path for folder in folders if folder.is_dir() for path in folder.iterdir()}
    return [files[name] for name in names]


def params_for(side: int, stride_in_1x1: bool) -> Params:
    """The parameters of torchvision's network, for photos of this shorter side."""
    content: dict[str, Any] = parse_yaml(default_text(family_of(DEFAULT)), "defaults")
    resize = {"shorter_side": side, "longer_side": round(side * 1333 / 800)}
    apply_overlay(content, AS_TORCHVISION, "torchvision")
    own = {"backbone": {"name": "resnet50", "stride_in_1x1": stride_in_1x1}, "resize": resize}
    apply_overlay(content, own, "torchvision")
    return Params(check_params(content, "torchvision", limits=False))


def torchvision_model(weights: dict[str, Tensor] | None, stride_in_1x1: bool) -> FasterRCNN:
    """torchvision's network, its outputs spread so that few scores are alike."""
    torch.manual_seed(0)
    model = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=CLASSES)
    body = model.backbone.body
    if weights is not None:
        own = body.state_dict()
        body.load_state_dict({name: weights.get(name, value).float() for name, value in own.items()})
    else:
        for block in body.modules():
            if hasattr(block, "bn3"):  # else random maps grow from block to block
                nn.init.constant_(block.bn3.weight, 0.5)
    if stride_in_1x1:
        for stage in (body.layer2, body.layer3, body.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    heads = model.roi_heads.box_predictor
    for layer, std in (
        (model.rpn.head.cls_logits, 0.1),
        (model.rpn.head.bbox_pred, 0.02),
        (heads.cls_score, 0.1),
        (heads.bbox_pred, 0.1),
    ):
        nn.init.normal_(layer.weight, std=std)
        nn.init.normal_(layer.bias, std=0.1)
    return model.eval()


def compared(model: FasterRCNN, params: Params, photos: list[Path], device: torch.device) -> tuple[Pairs, Pairs]:
    """Proposals and detections of all photos."""
    trunk, rpn, head = parts_of(model.state_dict(), params)
    parts, rule = (trunk.to(device), rpn.to(device), head.to(device)), params.detect
    model.to(device)
    proposals, detections = Pairs(), Pairs()
    for photo in photos:
        pixels = torch.from_numpy(resize_rgb(read_rgb(photo), params.resize).copy()).permute(2, 0, 1).to(device)
        ours, theirs = found_by_ours(parts, params, pixels), found_by_theirs(model, pixels)
        of_rpn = pair(ours[0], theirs[0], floor=0.0, nms_iou=rule.proposal_nms_iou, most=rule.proposals)
        of_head = pair(ours[1], theirs[1], floor=rule.score_threshold, nms_iou=rule.nms_iou, most=rule.per_image)
        for kind, own in (("proposal", of_rpn), ("detection", of_head)):
            for line in own.unpaired:
                print(f"  {photo.name}: {kind} without a pair: {line}")
        proposals.add(of_rpn)
        detections.add(of_head)
    return proposals, detections


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a tree in VOC's or KITTI's layout")
    parser.add_argument("--weights", type=Path, help="ResNet-50 of ImageNet, .safetensors")
    parser.add_argument("--stride-in-1x1", action="store_true", help="the weights are Caffe's (MSRA)")
    parser.add_argument("--side", type=int, default=300, help="shorter side of the resized photos, px")
    parser.add_argument("--most", type=int, help="so many photos alone")
    parser.add_argument("--device", default="cpu", help="that both compute on; default: %(default)s")
    arguments = parser.parse_args()
    device = float32_on(arguments.device)
    photos = photos_of(arguments.photos)[: arguments.most]
    runs: list[tuple[str, dict[str, Tensor] | None, bool]] = [("random", None, False)]
    if arguments.weights:
        runs.append((arguments.weights.name, load_file(arguments.weights), arguments.stride_in_1x1))
    unexplained = 0
    for name, weights, stride_in_1x1 in runs:
        model = torchvision_model(weights, stride_in_1x1)
        for kind, found in zip(
            ("proposals", "detections"),
            compared(model, params_for(arguments.side, stride_in_1x1), photos, device),
            strict=True,
        ):
            print(
                f"{name}, {len(photos)} photos: {found.count} pairs of {kind}, scores to {found.score:.1e}, boxes to "
                f"{found.box:.1e} px; {len(found.unpaired)} without a pair, {found.unexplained} near no threshold"
            )
            unexplained += found.unexplained
    return int(unexplained > 0)


if __name__ == "__main__":
    sys.exit(main())

"""SSD300 on a VGG16 whose layers have a sixteenth of their channels: ours, and torchvision's of the same widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection.ssd import SSD

from pipeline.artifacts.weights import State, restore, select_part
from pipeline.building.memory_format import channels_last
from pipeline.building.torchvision_ssd import from_torchvision
from pipeline.building.trunk import new_trunk
from pipeline.dense.building import new_head
from pipeline.dense.head import DenseHead
from pipeline.families.registry import family_of
from pipeline.families.ssd import detect_dense
from pipeline.geometry.backbones import LAYOUTS, VGG16, VGGShape
from pipeline.geometry.ssd_necks import SSD_SHAPES
from pipeline.nn.backbones.build import BACKBONES
from pipeline.nn.backbones.trunk import IMAGENET_MEAN, IMAGENET_STD, Trunk
from pipeline.nn.backbones.vgg import VGGTrunk
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from pipeline.presets.defaults import default_text
from tests.conftest import ROOT, apply_overlay

_THINNER = 16

VOC: dict[str, Any] = yaml.safe_load((ROOT / "pipeline/presets/voc0712_ssd300.yaml").read_text())
AS_TORCHVISION: dict[str, Any] = {
    "backbone": {"weights": "random"},
    "ssd": {"scales": [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05], "clip": "sides", "matching": "best"},
}
"""What differs of `VOC` for torchvision's `ssd300_vgg16`."""
SSD512: dict[str, Any] = {
    "backbone": {"neck": {"name": "ssd512"}},
    "resize": {"fixed_width": 512, "fixed_height": 512},
    "ssd": {
        "scales": [0.07, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05],
        "ratios": [[2.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0], [2.0]],
    },
}
"""What differs of `VOC` for SSD512."""


def ssd_params(*overlays: dict[str, Any]) -> Params:
    """params.yaml of `VOC` with overlays."""
    content = yaml.safe_load(_defaults())
    for overlay in (VOC, *overlays):
        apply_overlay(content, overlay)
    return Params(check_params(content, "test"), "ssd")


@cache
def _defaults() -> str:
    return default_text(family_of("ssd"))


def make_thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give VGG16 and the necks on it a sixteenth of their channels."""
    blocks = tuple(tuple(width // _THINNER for width in block) for block in VGG16.blocks)
    shape = VGGShape(blocks, batch_norm=False)
    monkeypatch.setitem(LAYOUTS, "vgg16", shape.layout)
    monkeypatch.setitem(BACKBONES, "vgg16", partial(VGGTrunk, shape))
    for name in ("ssd300", "ssd512"):
        own = SSD_SHAPES[name]
        extra = tuple(
            replace(layer, inner=layer.inner // _THINNER, channels=layer.channels // _THINNER) for layer in own.extra
        )
        monkeypatch.setitem(SSD_SHAPES, name, replace(own, fc=own.fc // _THINNER, extra=extra))


def torchvision_ssd(classes: int, *, thin: bool = True, seed: int = 0, **settings: Any) -> SSD:
    """`ssd300_vgg16` in evaluation mode, with random weights by which few outputs are alike, and ImageNet's pixel
    statistics."""
    settings = {"image_mean": list(IMAGENET_MEAN), "image_std": list(IMAGENET_STD), **settings}
    with torch.device("meta"):
        model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=classes, **settings)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Conv2d):
            owner = model.get_submodule(name.rpartition(".")[0])
            setattr(owner, name.rpartition(".")[2], _thinner(layer, name) if thin else layer.to_empty(device="cpu"))
    scales = len(model.backbone.scale_weight) // (_THINNER if thin else 1)
    model.backbone.scale_weight = nn.Parameter(torch.empty(scales))
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.backbone.scale_weight.uniform_(10, 30, generator=draw)
        for name, layer in model.named_modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=draw)
                layer.bias.normal_(std=0.1, generator=draw)  # type: ignore[union-attr]
            if isinstance(layer, nn.Conv2d) and name.startswith("head."):
                layer.weight.mul_(0.3)
    return model.eval()


def _thinner(layer: nn.Conv2d, name: str) -> nn.Conv2d:
    before = layer.in_channels if layer.in_channels == 3 else layer.in_channels // _THINNER
    after = layer.out_channels if name.startswith("head.") else layer.out_channels // _THINNER
    return nn.Conv2d(
        before,
        after,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,  # type: ignore[arg-type]
    )


def our_names(state: Mapping[str, Tensor]) -> State:
    """torchvision's weights under our names, with ImageNet's pixel statistics."""
    own = from_torchvision(state, "torchvision")
    return own | {"trunk.pixel_mean": torch.tensor(IMAGENET_MEAN), "trunk.pixel_std": torch.tensor(IMAGENET_STD)}


def parts_of(model: SSD, params: Params, classes: int) -> tuple[Trunk, DenseHead]:
    """Our trunk and head with the weights of torchvision's, in evaluation mode."""
    state = our_names(model.state_dict())
    trunk = new_trunk(params.backbone)
    head = new_head(detect_dense, trunk.layout, classes, params)  # type: ignore[arg-type]
    for name, part in (("trunk", trunk), ("head", head)):
        restore(part, select_part(state, name), "torchvision")
    return channels_last(trunk), channels_last(head)

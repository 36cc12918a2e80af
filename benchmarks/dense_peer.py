"""torchvision's RetinaNet, FCOS and SSD on the weights of our stage `backbone`.

As a user gets them: their anchors, heads, matching and thresholds. Of ours are the sizes of the images, the weights of
the backbone, where a ResNet's strides lie, and which layers are frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils._pytree import tree_map
from torchvision.models import vgg16
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.ssd import SSD, _vgg_extractor
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from benchmarks.resnet_peer import STAGES, frozen_stages, resnet_body
from pipeline.artifacts.weights import load_part
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError

_DEPTH = 256
_RATIOS = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
_SCALES = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
_STEPS = [8, 16, 32, 64, 100, 300]
"""Of torchvision's ssd300_vgg16."""

_STAGE_ENDS = (0, 5, 10, 17, 24, 31)
"""Layers of VGG16's features that so many stages have."""


def build_retinanet(params: Params, data: Path, num_classes: int) -> nn.Module:
    """Its RetinaNet with levels P3 to P7, P6 from P5."""
    return _on_resnet(RetinaNet, params, data, num_classes)


def build_fcos(params: Params, data: Path, num_classes: int) -> nn.Module:
    """Its FCOS with levels P3 to P7, P6 from P5."""
    return _on_resnet(FCOS, params, data, num_classes)


def build_ssd(params: Params, data: Path, num_classes: int) -> nn.Module:
    """Its SSD300 on VGG16.

    Raises:
        InputError: images are of another size.
    """
    resize = params.resize
    if resize.rule != "fixed" or (resize.fixed_width, resize.fixed_height) != (300, 300):
        raise InputError("the peer is torchvision's SSD300; give a preset with images of 300 x 300 px")
    trunk = load_part(data / "backbone", "trunk")
    backbone = vgg16()
    own = backbone.features.state_dict()
    backbone.features.load_state_dict({name: trunk[f"layers.{name}"] for name in own})
    backbone.features[: _STAGE_ENDS[frozen_stages(params)]].requires_grad_(False)
    features = _vgg_extractor(backbone, highres=False, trainable_layers=5)
    model = SSD(
        features,
        DefaultBoxGenerator(_RATIOS, scales=_SCALES, steps=_STEPS),
        (300, 300),
        num_classes,
        image_mean=trunk["pixel_mean"].tolist(),
        image_std=trunk["pixel_std"].tolist(),
    )
    _keep_outputs_exact(model.head)
    return model


PEERS: dict[str, Callable[[Params, Path, int], nn.Module]] = {
    "retinanet": build_retinanet,
    "fcos": build_fcos,
    "ssd": build_ssd,
}
"""By our family."""

TITLES = {"retinanet": "RetinaNet", "fcos": "FCOS", "ssd": "SSD300"}


def _on_resnet(kind: type[RetinaNet] | type[FCOS], params: Params, data: Path, num_classes: int) -> nn.Module:
    trunk, body = resnet_body(params, data)
    backbone = _resnet_fpn_extractor(
        body,
        trainable_layers=STAGES - frozen_stages(params),
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(_DEPTH, _DEPTH),
    )
    model = kind(
        backbone,
        num_classes,
        min_size=params.resize.shorter_side,
        max_size=params.resize.longer_side,
        image_mean=trunk["pixel_mean"].tolist(),
        image_std=trunk["pixel_std"].tolist(),
    )
    _keep_outputs_exact(model.head)
    return model


def _keep_outputs_exact(head: nn.Module) -> None:
    """Have the outputs in float32 under autocast too, else boxes are decoded in bf16."""
    head.register_forward_hook(
        lambda _module, _inputs, outputs: tree_map(lambda own: own.float() if torch.is_tensor(own) else own, outputs)
    )

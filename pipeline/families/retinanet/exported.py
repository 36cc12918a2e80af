"""torchvision's RetinaNet with the weights and parameters of a bundle. Its weights are a state dict of torchvision's
`retinanet_resnet50_fpn`, or `_v2`, or its like on another ResNet. It keeps detections without area, which ours drops.

Anchors, which have no weights, are this project's: they are torchvision's where `anchors.placement` is torchvision and
`anchors.whole_sizes` true.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.retinanet import RetinaNetHead

from pipeline.artifacts.weights import State
from pipeline.building.layout import map_layout
from pipeline.building.torchvision_dense import to_torchvision
from pipeline.dense.torchvision_export import Asked, TorchvisionKind
from pipeline.export.torchvision_parts import ExactAnchors, dense_options, pyramid, resnet_asked
from pipeline.families.retinanet.params import GROUPS
from pipeline.params.reading import Params

_DEPTH = 4
"""Of torchvision's heads, convolutions before the outputs; they are as wide as the maps."""


def _asked(params: Params) -> Asked:
    own = params.retinanet
    return [
        *resnet_asked(params),
        ("retinanet.depth", str(own.depth), (str(_DEPTH),)),
        ("retinanet.channels", str(own.channels), (str(params.backbone.neck.channels),)),
    ]


def _build(params: Params, num_classes: int, pixels: Mapping[str, Any]) -> nn.Module:
    backbone = pyramid(params.backbone)
    anchors = ExactAnchors(params.anchors, map_layout(params.backbone))
    norm = None if params.retinanet.norm == "none" else partial(nn.GroupNorm, GROUPS)
    per_cell = anchors.num_anchors_per_location()[0]
    return RetinaNet(
        backbone,
        num_classes,
        anchor_generator=anchors,
        head=RetinaNetHead(backbone.out_channels, per_cell, num_classes, norm_layer=norm),
        **dense_options(params, params.detect_retinanet, pixels),
    )


def _state(trunk: Mapping[str, Tensor], head: Mapping[str, Tensor], params: Params) -> State:
    own = {name: value for name, value in head.items() if name != "normaliser"}
    return to_torchvision(trunk, own, len(params.anchors.ratios) * len(params.anchors.scales))


KIND = TorchvisionKind(_asked, _build, _state)

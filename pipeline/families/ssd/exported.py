"""torchvision's SSD300 on VGG16 with the weights and parameters of a bundle. Its weights are a state dict of
torchvision's own `ssd300_vgg16`. It keeps detections without area, which ours drops.

torchvision has no SSD512: what it builds with `highres` has other levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import vgg16
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD, _vgg_extractor

from pipeline.artifacts.weights import State
from pipeline.building.layout import map_layout
from pipeline.building.torchvision_ssd import to_torchvision
from pipeline.dense.torchvision_export import Asked, TorchvisionKind
from pipeline.params.reading import Params

_VARIANCES = "0.1, 0.1, 0.2, 0.2"
"""What torchvision's box coder divides deltas by."""


def _asked(params: Params) -> Asked:
    own = params.backbone
    return [
        ("backbone.name", own.name, ("vgg16",)),
        ("backbone.neck.name", own.neck.name, ("ssd300",)),
        ("ssd.variances", ", ".join(str(value) for value in params.ssd.variances), (_VARIANCES,)),
    ]


def _build(params: Params, num_classes: int, pixels: Mapping[str, Any]) -> nn.Module:
    own, rule, resize = params.ssd, params.detect_ssd, params.resize
    with torch.device("meta"):  # drawing weights that are replaced takes seconds
        features = _vgg_extractor(vgg16(), highres=False, trainable_layers=5)
    boxes = DefaultBoxGenerator(
        own.ratios, scales=own.scales, steps=list(map_layout(params.backbone).strides), clip=own.clip == "sides"
    )
    return SSD(
        features.to_empty(device="cpu"),
        boxes,
        (resize.fixed_width, resize.fixed_height),
        num_classes,
        score_thresh=rule.score_threshold,
        nms_thresh=rule.nms_iou,
        detections_per_img=rule.per_image,
        topk_candidates=rule.per_class,
        **pixels,
    )


def _state(trunk: Mapping[str, Tensor], head: Mapping[str, Tensor], params: Params) -> State:
    return to_torchvision(trunk, head)


KIND = TorchvisionKind(_asked, _build, _state)

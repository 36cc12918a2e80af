"""Small Faster R-CNNs built by torchvision's own classes, on a ResNet-18 with FPN: in the form of
`fasterrcnn_resnet50_fpn` (v1) and in that of its `_v2`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FrozenBatchNorm2d

HIDDEN = 64


def small_torchvision(
    form: str = "v1", classes: int = 4, seed: int = 0, name: str = "resnet18", hidden: int = HIDDEN, **settings: Any
) -> FasterRCNN:
    """A model in evaluation mode, its weights and norms random, its outputs spread so that few are alike.

    Args:
        form: v1 or v2. classes: C, the background among them. name: of the ResNet. hidden: width of the box head.
        settings: of FasterRCNN.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        norm: Callable[..., nn.Module] = FrozenBatchNorm2d if form == "v1" else nn.BatchNorm2d
        body = getattr(resnet, name)(weights=None, norm_layer=norm)
        backbone = _resnet_fpn_extractor(body, 5, norm_layer=None if form == "v1" else norm)
        anchors = AnchorGenerator(tuple((32 * 2**level,) for level in range(5)), ((0.5, 1.0, 2.0),) * 5)
        rpn = RPNHead(256, anchors.num_anchors_per_location()[0], conv_depth=1 if form == "v1" else 2)
        convs = partial(FastRCNNConvFCHead, (256, 7, 7), [256] * 4, [hidden], norm_layer=norm)
        box_head = TwoMLPHead(256 * 49, hidden) if form == "v1" else convs()
        predictor = FastRCNNPredictor(hidden, classes)
        model = FasterRCNN(
            backbone,
            rpn_anchor_generator=anchors,
            rpn_head=rpn,
            box_head=box_head,
            box_predictor=predictor,
            **settings,
        )
        _spread(model)
    return model.eval()


def _spread(model: FasterRCNN) -> None:
    """Norms that are none of 1 and 0, and outputs of a size by which few candidates are alike."""
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith(("running_var", "running_mean")) or (value.dim() == 1 and _is_norm(name)):
                value.uniform_(0.8, 1.2) if name.endswith(("var", "weight")) else value.normal_(std=0.1)
        for layer, std in (
            (model.rpn.head.cls_logits, 0.1),
            (model.rpn.head.bbox_pred, 0.02),
            (model.roi_heads.box_predictor.cls_score, 0.2),
            (model.roi_heads.box_predictor.bbox_pred, 0.2),
        ):
            layer.weight.normal_(std=std)
            layer.bias.normal_(std=0.1)


def _is_norm(name: str) -> bool:
    return ".bn" in name or ".downsample.1." in name or name.rpartition(".")[0].endswith("blocks.0.1")


def with_first_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict as files of before torchvision 0.13 name it."""
    renamed = {}
    for name, value in state.items():
        if name.startswith("backbone.fpn.") or name.startswith("rpn.head.conv."):
            name = name.replace("conv.0.0.", "conv.").replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        renamed[name] = value
    return renamed

"""From the trunk, the RPN and the RoI head to a torchvision FasterRCNN with equal detections.

On a ResNet the weights have torchvision's names throughout, so that with FPN they are a state dict of torchvision's own
`fasterrcnn_resnet50_fpn`, or `_v2`, or its like on another ResNet. On another backbone the trunk is this project's.
Anchors and RoI pooling, which have no weights, are this project's: they are torchvision's where `anchors.placement` is
torchvision and `roi_head` has 2 samples, not aligned.

What torchvision cannot express: the least size of a proposal in pixels of the original image (`detect.min_size`), and a
cut to the best candidates after boxes without area are dropped (`detect.cut_first: false`). The exported network has no
least size, and cuts first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models import resnet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import RPNHead as TorchvisionRPNHead
from torchvision.ops.misc import Conv2dNormActivation, FrozenBatchNorm2d

from pipeline.artifacts.weights import State, restore
from pipeline.building.memory_format import channels_last
from pipeline.building.torchvision_detector import COUNTER, torchvision_name
from pipeline.export.torchvision_parts import ExactAnchors, pad_as, resnet_body, sizes_of
from pipeline.families.faster_rcnn.exported.settings import ExportSettings, has_box_weights
from pipeline.families.faster_rcnn.exported.stand_ins import RoIPooling
from pipeline.families.faster_rcnn.nn.convs_head import ConvsHead
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.geometry.layout import MapLayout
from pipeline.nn.backbones.build import BACKBONES
from pipeline.nn.backbones.resnet import ResNetTrunk
from pipeline.nn.backbones.trunk import Trunk
from pipeline.runtime.errors import InputError

_ALL = 2**31 - 1


def torchvision_state(trunk: Trunk, rpn: RPNHead, head: RoIHead) -> State:
    """The weights of the three parts under torchvision's names: contiguous, detached, on the CPU.

    The two-class softmax of the RPN becomes its one logit, fg minus bg. The normalisation of the RoI head's deltas goes
    into bbox_pred, unless it is what torchvision's box coder divides by.
    """
    parts = {"rpn": rpn.state_dict(), "head": _with_deltas_of_each_class(head)}
    for kind in ("weight", "bias"):
        background, foreground = parts["rpn"][f"cls_score.{kind}"].chunk(2)
        parts["rpn"][f"cls_score.{kind}"] = foreground - background
    state = {f"backbone.{name}": value for name, value in trunk.state_dict().items()}
    if isinstance(trunk, ResNetTrunk):
        parts["trunk"], state = trunk.state_dict(), {}
        for name in ("pixel_mean", "pixel_std"):
            del parts["trunk"][name]
    convolutions = len(head.convs) if isinstance(head, ConvsHead) else 0
    for part, own in parts.items():
        state |= {torchvision_name(f"{part}.{name}", convolutions): value for name, value in own.items()}
    if "backbone.fpn.inner_blocks.0.1.weight" in state:
        # Theirs has batch norm there, which counts what it has seen.
        norms = [name.removesuffix("running_var") for name in state if name.endswith("running_var")]
        state |= {f"{norm}{COUNTER}": torch.tensor(0) for norm in norms}
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def _with_deltas_of_each_class(head: RoIHead) -> State:
    """The RoI head's weights without its normalisation. Theirs has a box for each class: the same for all where
    ours has one."""
    state = head.state_dict()
    std, mean = (state.pop(name).double().reshape(-1) for name in ("delta_std", "delta_mean"))
    weight, bias = (state[f"bbox_pred.{kind}"] for kind in ("weight", "bias"))
    weight, bias = (own.repeat(len(std) // len(bias), *[1] * (own.dim() - 1)) for own in (weight, bias))
    if not has_box_weights(head):
        weight, bias = (weight.double() * std[:, None]).float(), (bias.double() * std + mean).float()
    return {**state, "bbox_pred.weight": weight, "bbox_pred.bias": bias}


def build_torchvision(settings: ExportSettings, state: Mapping[str, Tensor], source: Path | str) -> FasterRCNN:
    """A torchvision FasterRCNN with these settings and weights, in evaluation mode.

    Args:
        state: as `torchvision_state` names it. source: what to name in errors.

    Raises:
        InputError: the backbone is unknown, or a weight is missing, unknown or of another shape.
    """
    if settings.backbone not in BACKBONES:
        raise InputError(f"{source}: backbone {settings.backbone!r} is unknown; there are {', '.join(BACKBONES)}")
    own = BACKBONES[settings.backbone](settings.trunk)
    layout = own.layout
    backbone: nn.Module = own
    res5: nn.Module | None = None
    if settings.on_resnet:
        backbone, res5 = _resnet(settings, layout)
        state = {name: value for name, value in state.items() if not name.endswith(COUNTER)}
    else:
        own.register_forward_hook(_by_name)
    backbone.out_channels = layout.channels  # type: ignore[assignment]
    anchors = ExactAnchors(settings.anchors, layout)
    box_head, features = _box_head(settings, layout, res5)
    model = FasterRCNN(
        backbone,
        rpn_anchor_generator=anchors,
        rpn_head=_rpn_head(layout.channels, settings, anchors.num_anchors_per_location()[0]),
        rpn_pre_nms_top_n_test=settings.pre_nms if settings.pre_nms > 0 else _ALL,
        rpn_post_nms_top_n_test=settings.proposals,
        rpn_nms_thresh=settings.proposal_nms_iou,
        box_head=box_head,
        box_predictor=FastRCNNPredictor(features, len(settings.classes)),
        box_score_thresh=settings.score_threshold,
        box_nms_thresh=settings.nms_iou,
        box_detections_per_img=settings.per_image,
        bbox_reg_weights=tuple(settings.box_weights),
        size_divisible=settings.size_divisible,
        **sizes_of(settings.resize),
    )
    # The constructor takes no other pooling than MultiScaleRoIAlign.
    model.roi_heads.box_roi_pool = RoIPooling(settings.pooling, layout)
    restore(model, state, source)
    for kind in ("mean", "std"):
        given = getattr(settings, f"pixel_{kind}")
        setattr(model.transform, f"image_{kind}", given or getattr(backbone, f"pixel_{kind}").tolist())
    for part in (model.backbone, model.rpn):
        channels_last(part)
    return model.eval()


def _by_name(trunk: nn.Module, images: tuple[Tensor], maps: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The maps of each level in the form in which torchvision's networks take them from a backbone."""
    return {str(level): own for level, own in enumerate(maps)}


def _resnet(settings: ExportSettings, layout: MapLayout) -> tuple[nn.Module, nn.Module]:
    """torchvision's backbone, which pads images as ours does, and its layer4, which is part of it where there is a
    neck."""
    body = resnet_body(settings.backbone, stride_in_1x1=settings.stride_in_1x1, norm_epsilon=settings.norm_epsilon)
    res5 = body.layer4
    backbone: nn.Module
    if settings.neck.name == "none":
        getter = IntermediateLayerGetter(body, {"layer3": "0"})
        backbone = nn.Sequential(OrderedDict(body=getter))
    else:
        depths = [body.inplanes // 2**stage for stage in (3, 2, 1, 0)]
        backbone = BackboneWithFPN(
            body,
            {f"layer{stage}": str(stage - 1) for stage in range(1, 5)},
            depths,
            settings.neck.channels,
            norm_layer=FrozenBatchNorm2d if settings.neck.norm == "batch" else None,
        )
    pad_as(backbone, layout)
    return backbone, res5


def _box_head(settings: ExportSettings, layout: MapLayout, res5: nn.Module | None) -> tuple[nn.Module, int]:
    """The box head, and the number of features that it computes for a RoI."""
    channels, size, hidden = layout.pooled.channels, settings.output_size, settings.hidden
    if settings.kind == "res5" and res5 is not None:
        layers = OrderedDict(layer4=res5, mean=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten())
        block = cast(nn.Sequential, res5)[-1]
        last = block.conv3 if isinstance(block, resnet.Bottleneck) else block.conv2
        return nn.Sequential(layers), cast(nn.Conv2d, last).out_channels
    if settings.kind == "convs":
        norm = partial(FrozenBatchNorm2d, eps=settings.norm_epsilon)
        return FastRCNNConvFCHead((channels, size, size), [256] * 4, [hidden], norm_layer=norm), hidden
    return TwoMLPHead(channels * size**2, hidden), hidden


def _rpn_head(in_channels: int, settings: ExportSettings, per_location: int) -> TorchvisionRPNHead:
    channels = settings.rpn_channels
    head = TorchvisionRPNHead(channels, per_location, conv_depth=settings.rpn_depth)
    # Theirs is as wide as the trunk.
    head.conv[0] = Conv2dNormActivation(in_channels, channels, kernel_size=3, norm_layer=None)
    return head

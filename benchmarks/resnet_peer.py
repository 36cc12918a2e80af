"""torchvision's FasterRCNN on a ResNet with FPN, on the weights of our stage `backbone`.

As a user gets it: its anchors (32 to 512 on P2 to P6), its RPN, RoI heads, samples and thresholds. Of ours are the
sizes of the images, the weights of the ResNet, where its strides lie, and which of its layers are frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torchvision.models import resnet
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN, _resnet_fpn_extractor
from torchvision.ops.misc import FrozenBatchNorm2d

from pipeline.artifacts.weights import load_part
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError

STAGES = 5
"""What can be frozen: the stem and the four stages of blocks."""


def build_resnet_peer(params: Params, data: Path, num_classes: int) -> FasterRCNN:
    """The detector for the images of params.yaml, with the weights in `data`/backbone and a fresh FPN."""
    resize = params.resize
    trunk, body = resnet_body(params, data)
    model = FasterRCNN(
        with_fpn(body, frozen_stages(params)),
        num_classes,
        min_size=resize.shorter_side,
        max_size=resize.longer_side,
        image_mean=trunk["pixel_mean"].tolist(),
        image_std=trunk["pixel_std"].tolist(),
    )
    keep_boxes_exact(model)
    return model


def frozen_stages(params: Params) -> int:
    """How many of the stem and the stages after it are frozen."""
    own = params.backbone.frozen_stages
    return STAGES if own == "all" else min(own, STAGES)


def resnet_body(params: Params, data: Path) -> tuple[dict[str, Tensor], resnet.ResNet]:
    """The part `trunk` in `data`/backbone, and torchvision's ResNet with its weights."""
    own, trunk = params.backbone, load_part(data / "backbone", "trunk")
    body = torchvision_resnet(
        own.name,
        torchvision_names(trunk, load_part(data / "backbone", "classifier", optional=True)),
        stride_in_1x1=own.stride_in_1x1,
        epsilon=own.norm_epsilon,
    )
    return trunk, body


def keep_boxes_exact(model: FasterRCNN) -> None:
    """Have the outputs of RPN and RoI head in float32 under autocast too. Else torchvision decodes boxes in bf16, which
    rounds a coordinate above 256 to an even number of pixels."""
    for module in (model.rpn.head, model.roi_heads.box_predictor):
        module.register_forward_hook(lambda _module, _inputs, outputs: tree_map(Tensor.float, outputs))


def torchvision_names(trunk: Mapping[str, Tensor], classifier: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The ResNet of the parts `trunk` and `classifier` by torchvision's names; of a C4 network, res5 is layer4."""
    state = {name.removeprefix("layers."): value for name, value in trunk.items() if name.startswith("layers.")}
    res5 = {
        name.replace("res5.", "layer4.", 1): value for name, value in classifier.items() if name.startswith("res5.")
    }
    return {**res5, **state}


def torchvision_resnet(
    name: str, state: Mapping[str, Tensor], *, stride_in_1x1: bool, epsilon: float = 1e-5
) -> resnet.ResNet:
    """torchvision's ResNet with frozen batch norm and given weights, `fc` left out.

    Args:
        name: resnet18, resnet34, resnet50 or resnet101.
        state: by torchvision's names.
        stride_in_1x1: whether a stage of bottlenecks halves the maps in its first 1x1 convolution, as MSRA's weights
            want it, and not in the 3x3 one.

    Raises:
        InputError: weights are missing or of another network.
    """
    model: resnet.ResNet = getattr(resnet, name)(weights=None, norm_layer=partial(FrozenBatchNorm2d, eps=epsilon))
    if stride_in_1x1:
        put_stride_in_1x1(model)
    own = {key: value for key, value in state.items() if not key.startswith("fc.")}
    try:
        missing, unknown = model.load_state_dict(own, strict=False)
    except RuntimeError as error:
        raise InputError(f"weights of the trunk are not {name}'s: {str(error).splitlines()[-1].strip()}") from error
    wrong = [key for key in missing if not key.startswith("fc.")] + unknown
    if wrong:
        raise InputError(f"weights of the trunk are not {name}'s: {wrong[0]} is missing or unknown")
    return model


def put_stride_in_1x1(model: resnet.ResNet) -> None:
    """Move the stride of 2 of each stage from the 3x3 convolution to the 1x1 before it; basic blocks have none."""
    for stage in (model.layer2, model.layer3, model.layer4):
        block = stage[0]
        if isinstance(block, resnet.Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride


def with_fpn(body: resnet.ResNet, frozen: int) -> BackboneWithFPN:
    """As torchvision's `resnet_fpn_backbone`, with the stem and further stages frozen, `frozen` in all."""
    backbone: nn.Module = _resnet_fpn_extractor(body, trainable_layers=STAGES - frozen)
    return backbone

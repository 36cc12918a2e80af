"""Floating point operations and bytes that the layers of Faster R-CNN on VGG16 cannot do without.

A multiplication with its addition counts as 2. Pooling, ReLU, losses, NMS and RoI pooling count as nothing: a floor.
Shapes: H, W image height, width.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.geometry.backbones import VGG16
from pipeline.params.reading import Params

Size = tuple[int, int]


def conv_flops(size: Size, first_block: int = 0) -> list[float]:
    """Of each convolution of VGG16 from a block on, forward, on an image of (H, W)."""
    height, width = size
    flops, channels = [], 3
    for index, block in enumerate(VGG16.blocks):
        if index > 0:
            height, width = height // 2, width // 2
        for out in block:
            if index >= first_block:
                flops.append(2.0 * height * width * channels * out * 9)
            channels = out
    return flops


def trunk_flops(size: Size) -> float:
    """Forward pass of the trunk."""
    return sum(conv_flops(size))


def trunk_training_flops(size: Size) -> float:
    """Forward and backward pass of conv3 to conv5: a gradient of weights each, and of the input but one.

    conv1 and conv2 are frozen, and their maps can be kept."""
    trained = conv_flops(size, first_block=2)
    return 3 * sum(trained) - trained[0]


def rpn_flops(params: Params, size: Size) -> float:
    """Forward pass of the RPN's head."""
    cells = (size[0] // 16) * (size[1] // 16)
    outputs = 6 * len(params.anchors.ratios) * len(params.anchors.scales)
    return 2.0 * cells * params.rpn.channels * (512 * 9 + outputs)


def head_flops(params: Params, rois: int, num_classes: int) -> float:
    """Forward pass of the RoI head on some RoIs."""
    hidden = params.roi_head.hidden
    return 2.0 * rois * hidden * (512 * params.roi_head.output_size**2 + hidden + 5 * num_classes)


def rpn_training_flops(params: Params, sizes: Sequence[Size]) -> float:
    """Step 1, per image, on average over images of these sizes."""
    return sum(trunk_training_flops(size) + 3 * rpn_flops(params, size) for size in sizes) / len(sizes)


def head_training_flops(params: Params, sizes: Sequence[Size]) -> float:
    """Step 2, per image, on average over images of these sizes."""
    trunk = sum(trunk_training_flops(size) for size in sizes) / len(sizes)
    return trunk + 3 * head_flops(params, params.roi_head.rois_per_image, 7)


def head_weight_bytes(params: Params) -> float:
    """Bytes that the weights of fc6 and fc7 move in an iteration of steps 2 and 4, whatever the images.

    SGD with momentum reads weight, gradient and momentum in float32 and writes weight and momentum; the forward pass
    and the two products of the backward pass use bf16 copies: one written, read twice, and a gradient written.
    """
    hidden = params.roi_head.hidden
    return hidden * (512 * params.roi_head.output_size**2 + hidden) * (5 * 4 + 4 * 2.0)

"""Faster convolutions, ReLUs and poolings of trunks and heads on a CPU; elsewhere the layers are used unchanged.

oneDNN's kernel for the gradient of the weights waits at a barrier, spinning, after every stretch of rows. When anything
else runs on one of its cores, if only the thread that loads the next batch, each wait lasts until the scheduler's turn:
a layer that takes 10 ms alone took from 40 to 340. One product of matrices, of the gradient and what each cell's kernel
has seen, takes four fifths of the time alone on a processor with AMX, and loses no more than its share
(benchmarks/training_time.py). Without AMX it takes 1.3 times as long, and oneDNN's kernel stays (docs/performance.md).

Shapes: B images; D channels in, E channels out; H, W height, width of the maps.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.nn.processor import has_amx

# For narrower layers oneDNN's kernel is faster, where it runs alone.
_LEAST_CHANNELS = 256
# Values that are laid out at a time for a product of matrices; 64 MB in bf16.
_MOST_SEEN = 1 << 25


def conv3x3(layer: nn.Conv2d, maps: Tensor, *, relu: bool = False) -> Tensor:
    """What `layer`, of kernel 3, stride 1 and padding 1, makes of (B, D, H, W) maps, through a ReLU if wanted."""
    if maps.device.type != "cpu" or not torch.backends.mkldnn.is_available() or torch.compiler.is_compiling():
        return layer(maps).relu_() if relu else layer(maps)
    weight, bias = layer.weight, layer.bias
    low = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    if not torch.is_grad_enabled():
        return _forward(maps, weight, bias, low, relu)
    if low is not None and weight.requires_grad and weight.shape[1] >= _LEAST_CHANNELS and has_amx():
        return _Conv3x3.apply(maps.to(low), weight, bias, relu)
    return layer(maps).relu_() if relu else layer(maps)


def convolve(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    layer: nn.Conv2d,
    *,
    relu: bool,
    onto: Tensor | None = None,
) -> Tensor:
    """(B, D, H, W) maps through a convolution of the stride and padding of `layer`, with further maps added and a ReLU
    if wanted; without a gradient, on a CPU, in one pass over the output.

    Args:
        weight, bias: in place of the layer's own. onto: (B, E, H', W') maps that are added before the ReLU.
    """
    low = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else maps.dtype
    # In another layout torch would add the maps in a pass of its own, and not in bf16.
    can_add = onto is None or all(own.is_contiguous(memory_format=torch.channels_last) for own in (maps, onto))
    if not (relu or onto is not None) or not can_add or not _in_one_pass(low, maps, weight, onto):
        out = torch.conv2d(maps, weight, bias, layer.stride, layer.padding)
        # In place: fresh memory from the kernel costs more than the sum.
        out = out if onto is None else out.add_(onto)
        return out.relu_() if relu else out
    maps, weight, bias = maps.to(low), weight.to(low), None if bias is None else bias.to(low)
    sides = [list(layer.padding), list(layer.stride), [1, 1], 1]
    if onto is None:
        return torch.ops.mkldnn._convolution_pointwise(maps, weight, bias, *sides, "relu", [], "")
    return torch.ops.mkldnn._convolution_pointwise.binary(
        maps, onto.to(low), weight, bias, *sides, "add", 1.0, "relu" if relu else None, [], None
    )


def _in_one_pass(dtype: torch.dtype, maps: Tensor, *others: Tensor | None) -> bool:
    return (
        maps.device.type == "cpu"
        and not any(_needs_gradient(own) for own in (maps, *others) if own is not None)
        and torch.backends.mkldnn.is_available()
        and not torch.compiler.is_compiling()
        and (dtype == torch.float32 or (dtype == torch.bfloat16 and _onednn_takes_bf16()))
    )


def weight_gradient_by(low_precision: bool, device: str) -> str:
    """How the weight gradient of wide 3x3 convolutions is computed: by `products` or by `layer`, torch's own."""
    return "products" if low_precision and device == "cpu" and has_amx() else "layer"


def _forward(maps: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype | None, relu: bool) -> Tensor:
    """In one pass over the output, with the same bits as convolution and ReLU one after the other."""
    if dtype is not None:
        maps, weight, bias = maps.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if not relu or (maps.dtype == torch.bfloat16 and not _onednn_takes_bf16()):
        out = torch.conv2d(maps, weight, bias, padding=1)
        return out.relu_() if relu else out
    return torch.ops.mkldnn._convolution_pointwise(maps, weight, bias, [1, 1], [1, 1], [1, 1], 1, "relu", [], "")


@cache
def _onednn_takes_bf16() -> bool:
    """Where the processor has no AVX-512 it refuses, and torch computes bf16 without it."""
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported


class _Conv3x3(torch.autograd.Function):
    """In the maps' dtype, which is lower than the weights' float32, as autocast would do it; for wide layers."""

    @staticmethod
    def forward(context: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        low = weight.to(maps.dtype)
        out = _forward(maps, low, None if bias is None else bias.to(maps.dtype), None, relu)
        context.relu, context.biased = relu, bias is not None
        context.save_for_backward(maps, low, *([out] if relu else []))
        return out

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        maps, weight, *out = context.saved_tensors
        if context.relu:
            gradient = torch.ops.aten.threshold_backward(gradient, out[0], 0)
        of_maps, *_ = torch.ops.aten.convolution_backward(
            *(gradient, maps, weight, [len(weight)], [1, 1], [1, 1], [1, 1], False, [0, 0], 1),
            [context.needs_input_grad[0], False, False],
        )
        of_weight = weight_gradient(maps, gradient)
        of_bias = gradient.sum(dim=(0, 2, 3)).float() if context.biased else None
        # A gradient that lies as its weight does is kept as it is, another is copied once more.
        return of_maps, of_weight.to(torch.float32, memory_format=torch.channels_last), of_bias, None


def weight_gradient(maps: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of a 3x3 convolution's weights, (E, D, 3, 3) float32 in channels_last layout.

    Args:
        maps: (B, D, H, W) what went in. gradient: (B, E, H, W) of what came out.
    """
    images, channels, height, width = maps.shape
    padded = maps.new_empty(images, height + 2, width + 2, channels)
    for border in (padded[:, 0], padded[:, -1], padded[:, :, 0], padded[:, :, -1]):
        border.zero_()
    padded[:, 1:-1, 1:-1] = maps.permute(0, 2, 3, 1)
    of_image, of_row, of_cell, _ = padded.stride()
    # What each cell's kernel sees; three cells side by side lie one after the other.
    seen = padded.as_strided((images, height, width, 3, 3 * channels), (of_image, of_row, of_cell, of_row, 1))
    came_out = gradient.permute(0, 2, 3, 1)
    weights = maps.new_zeros(gradient.shape[1], 9 * channels, dtype=torch.float32)
    for stretch in _stretches(images, height, _MOST_SEEN // (width * 9 * channels)):
        own = came_out[stretch].reshape(-1, gradient.shape[1])
        weights += _transposed(own) @ seen[stretch].reshape(-1, 9 * channels)
    return weights.view(-1, 3, 3, channels).permute(0, 3, 1, 2)


def _stretches(images: int, height: int, rows: int) -> list[tuple[slice, slice]]:
    """All rows of all images at once where they are at most `rows`, else image by image, so many at a time."""
    if images * height <= rows:
        return [(slice(None), slice(None))]
    step = max(rows, 1)
    return [
        (slice(image, image + 1), slice(start, start + step))
        for image in range(images)
        for start in range(0, height, step)
    ]


def max_pool(layer: nn.MaxPool2d, maps: Tensor) -> Tensor:
    """`layer`, 2x2 with stride 2, on (B, D, H, W) maps, with the same bits. Without a gradient nobody asks where a
    maximum came from, and rows and columns compared as wholes take half the time in bf16."""
    if _needs_gradient(maps) or maps.dtype != torch.bfloat16 or layer.ceil_mode or min(maps.shape[2:]) < 2:
        return layer(maps)
    height, width = (side // 2 * 2 for side in maps.shape[2:])
    rows = torch.maximum(maps[:, :, 0:height:2, :width], maps[:, :, 1:height:2, :width])
    return torch.maximum(rows[:, :, :, 0::2], rows[:, :, :, 1::2])


def _needs_gradient(maps: Tensor) -> bool:
    return torch.is_grad_enabled() and maps.requires_grad


def _transposed(values: Tensor, at_once: int = 512) -> Tensor:
    """(N, M) to a contiguous (M, N), by stretches that stay in the cache."""
    out = values.new_empty(values.shape[1], values.shape[0])
    for start in range(0, len(values), at_once):
        out[:, start : start + at_once] = values[start : start + at_once].t()
    return out

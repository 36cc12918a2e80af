"""Batch normalisation whose statistics and weights are never trained (FrozenBatchNorm), computed as part of the
convolution before it.

Shapes: B images; D channels in, E channels out; H, W height, width of the maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class FrozenBatchNorm(nn.Module):
    """(x - running_mean) / sqrt(running_var + epsilon) * weight + bias, all of them buffers, named as torchvision's."""

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight: Tensor
        self.bias: Tensor
        self.running_mean: Tensor
        self.running_var: Tensor
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """(E,) and (E,): what each channel is multiplied by, and what is added then."""
        scale = self.weight * (self.running_var + self.epsilon).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, maps: Tensor) -> Tensor:
        """(B, E, H, W) maps, normalised."""
        scale, shift = self.scale_and_shift()
        return maps * scale.to(maps.dtype)[:, None, None] + shift.to(maps.dtype)[:, None, None]


def conv_norm(layer: nn.Conv2d, norm: FrozenBatchNorm, maps: Tensor, *, relu: bool) -> Tensor:
    """(B, D, H, W) maps through a convolution without bias, its batch norm and a ReLU if wanted.

    The norm is multiplied into the weights: one pass over the maps instead of three.
    """
    scale, shift = norm.scale_and_shift()
    out = functional.conv2d(maps, layer.weight * scale[:, None, None, None], shift, layer.stride, layer.padding)
    return out.relu_() if relu else out

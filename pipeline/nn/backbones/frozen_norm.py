"""Batch normalisation whose statistics and weights are never trained (FrozenBatchNorm), computed as part of the
convolution before it.

Shapes: B images; D channels in, E channels out; H, W height, width of the maps.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from pipeline.nn.convolution import convolve


class FrozenBatchNorm(nn.Module):
    """(x - running_mean) / sqrt(running_var + epsilon) * weight + bias, all of them buffers, named as torchvision's."""

    def __init__(self, channels: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self._kept: tuple[tuple[Any, ...], Tensor, Tensor] | None = None
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

    def folded_into(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(E, D, h, w) weights of the convolution before it, times the scale, and the (E,) shift.

        In inference mode they are kept, in the precision of the layer, until the weights are others or are to be
        trained: for one image the product takes as long as some of the convolutions.
        """
        if self.training or not torch.is_inference_mode_enabled() or torch.compiler.is_compiling():
            return self._fold(weight)
        values = (weight, self.weight, self.bias, self.running_mean, self.running_var)
        if any(value.is_inference() for value in values):
            return self._fold(weight)
        low = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype
        state = (low, *((value.data_ptr(), value._version) for value in values))
        if self._kept is None or self._kept[0] != state:
            folded, shift = self._fold(weight)
            if weight.device.type == "cpu":
                folded, shift = folded.to(low), shift.to(low)
            self._kept = (state, folded, shift)
        return self._kept[1:]

    def _fold(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.scale_and_shift()
        return weight * scale[:, None, None, None], shift

    def train(self, mode: bool = True) -> Self:
        """As for any module, and drop the kept values, since not every optimiser counts its writes."""
        self._kept = None
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """Without the kept values, for copies and files."""
        return {**self.__dict__, "_kept": None}

    def forward(self, maps: Tensor) -> Tensor:
        """(B, E, H, W) maps, normalised."""
        scale, shift = self.scale_and_shift()
        return maps * scale.to(maps.dtype)[:, None, None] + shift.to(maps.dtype)[:, None, None]


def conv_norm(
    layer: nn.Conv2d, norm: FrozenBatchNorm, maps: Tensor, *, relu: bool, onto: Tensor | None = None
) -> Tensor:
    """(B, D, H, W) maps through a convolution without bias and its batch norm, with maps `onto` added and a ReLU if
    wanted.

    The norm is multiplied into the weights: one pass over the maps instead of three.
    """
    weight, shift = norm.folded_into(layer.weight)
    return convolve(maps, weight, shift, layer, relu=relu, onto=onto)

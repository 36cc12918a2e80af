"""Faster wide linear layers on a CPU: their large matrices are written into memory that is kept.

fc6 of VGG16 has 103 million weights. Under bf16 autocast an iteration makes a bf16 copy of them, a bf16 gradient and a
float32 gradient, 0.8 GB in all, and memory that comes anew from the kernel costs more in page faults than the copies
take (docs/performance.md). The bits are those of the layer itself.

Shapes: N rows; D, E features in and out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEAST_WEIGHTS = 1 << 22
"""Smaller matrices fit into memory that is free again anyway."""


class KeptLinear(nn.Linear):
    """nn.Linear whose gradient and low-precision weights lie in the same memory in every iteration.

    `weight.grad` is the kept memory itself: it holds until the next backward pass. It is all that the weights' gradient
    reaches, so that hooks and torch.autograd.grad do not see it. Between a pass and its backward pass there can be no
    other: torch refuses.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self._kept: dict[str, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the kept memory, for copies and files."""
        return {**self.__dict__, "_kept": {}}

    def forward(self, values: Tensor) -> Tensor:
        """(N, D) to (N, E)."""
        wide = self.weight.numel() >= _LEAST_WEIGHTS and self.weight.device.type == "cpu"
        if not wide or not torch.is_grad_enabled() or not self.weight.requires_grad or torch.compiler.is_compiling():
            return functional.linear(values, self.weight, self.bias)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else self.weight.dtype
        out: Tensor = _Linear.apply(values.to(dtype), self.weight, self.bias, self)
        return out

    def low_weight(self, dtype: torch.dtype) -> Tensor:
        """(E, D) weights in `dtype`, rounded anew in every pass: not every optimiser counts what it writes."""
        if dtype == self.weight.dtype:
            return self.weight.detach()
        return self.kept("low", dtype).copy_(self.weight.detach())

    def kept(self, name: str, dtype: torch.dtype) -> Tensor:
        """Memory of the weights' shape and layout; what it holds is whatever was written last."""
        found, weight = self._kept.get(name), self.weight
        if found is None or (found.dtype, found.shape, found.stride()) != (dtype, weight.shape, weight.stride()):
            found = self._kept[name] = torch.empty_like(weight, dtype=dtype, requires_grad=False)
        return found


class _Linear(torch.autograd.Function):
    """In the values' dtype, as autocast would do it; the weights' gradient is put in its place here."""

    @staticmethod
    def forward(context: Any, values: Tensor, weight: Tensor, bias: Tensor, layer: KeptLinear) -> Tensor:
        low = layer.low_weight(values.dtype)
        context.layer = layer
        context.save_for_backward(values, low)
        return torch.addmm(bias.to(values.dtype), values, low.t())

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor, None]:
        values, low = context.saved_tensors
        layer: KeptLinear = context.layer
        weight = layer.weight
        of_values = gradient @ low if context.needs_input_grad[0] else None
        # A gradient of an earlier backward pass that no step has taken yet is added to.
        name = "gradient" if weight.grad is None else "further gradient"
        product = torch.mm(gradient.t(), values, out=layer.kept(f"{name} as computed", values.dtype))
        own = product if product.dtype == weight.dtype else layer.kept(name, weight.dtype).copy_(product)
        weight.grad = own if weight.grad is None else weight.grad.add_(own)
        return of_values, None, gradient.sum(dim=0).to(weight.dtype), None

"""What is computed in another way on a CPU: the same bits forward, the same gradient up to rounding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.detector.convolution import conv3x3, conv_relu, max_pool, weight_gradient


def drawn(*shape: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return values.contiguous(memory_format=torch.channels_last)


def conv(channels: int, out: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, out, 3, padding=1)
    with torch.no_grad():
        layer.weight.copy_(drawn(*layer.weight.shape) * 0.05)
        layer.bias.copy_(torch.linspace(-1, 1, out))  # type: ignore[union-attr]
    return layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@pytest.mark.parametrize("shape", [(1, 5, 4, 6), (3, 8, 1, 1), (2, 16, 7, 3)])
def test_weight_gradient_is_autograds(shape: tuple[int, ...]) -> None:
    maps, layer = drawn(*shape), conv(shape[1], 6)
    out = layer(maps)
    gradient = drawn(*out.shape)
    (wanted,) = torch.autograd.grad(out, layer.weight, gradient)
    torch.testing.assert_close(weight_gradient(maps, gradient), wanted, rtol=1e-4, atol=1e-4)


def gradients(layer: nn.Conv2d, maps: Tensor, *, by_products: bool) -> tuple[Tensor, list[Tensor]]:
    maps = maps.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = conv3x3(layer, maps) if by_products else layer(maps)
    return out, list(torch.autograd.grad(out.float().square().sum(), [maps, layer.weight, layer.bias]))


def test_wide_convolutions_under_autocast_differ_by_rounding_only() -> None:
    maps, layer = drawn(2, 512, 5, 7), conv(512, 32)
    out, wanted = gradients(layer, maps, by_products=False)
    own_out, own = gradients(layer, maps, by_products=True)
    assert torch.equal(own_out, out) and type(own_out.grad_fn).__name__.startswith("_Conv3x3")
    for value, reference in zip(own, wanted, strict=True):
        assert value.dtype == reference.dtype == torch.float32
        assert float((value - reference).abs().max()) < 0.01 * float(reference.abs().max())
    assert own[1].stride() == layer.weight.stride()


def test_float32_and_narrow_layers_stay_as_they_are() -> None:
    for maps, layer, bf16 in ((drawn(1, 512, 3, 3), conv(512, 4), False), (drawn(1, 8, 3, 3), conv(8, 4), True)):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            assert not type(conv3x3(layer, maps).grad_fn).__name__.startswith("_Conv3x3")


@pytest.mark.parametrize("bf16", [False, True])
@torch.no_grad()
def test_convolution_with_relu_has_the_same_bits(bf16: bool) -> None:
    for channels in (3, 64):
        maps, layer = drawn(2, channels, 9, 13), conv(channels, 32)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            assert torch.equal(conv_relu(layer, maps), torch.relu(layer(maps)))


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size", [(6, 8), (7, 9), (2, 3)])
@torch.no_grad()
def test_pooling_has_the_same_bits(size: tuple[int, int], ceil_mode: bool) -> None:
    layer, maps = nn.MaxPool2d(2, ceil_mode=ceil_mode), drawn(2, 5, *size).bfloat16()
    assert torch.equal(max_pool(layer, maps), layer(maps))

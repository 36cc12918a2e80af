"""What is computed in another way on a CPU: the same bits forward, the same gradient up to rounding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.detector.convolution import conv3x3, max_pool, weight_gradient


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


def gradients(layer: nn.Conv2d, maps: Tensor, *, own: bool, relu: bool) -> tuple[Tensor, list[Tensor]]:
    maps = maps.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        plain = torch.relu(layer(maps)) if relu else layer(maps)
        out = conv3x3(layer, maps, relu=relu) if own else plain
    return out, list(torch.autograd.grad(out.float().square().sum(), [maps, layer.weight, layer.bias]))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("channels", [8, 512])
def test_under_autocast_outputs_are_equal_and_gradients_differ_by_rounding_only(channels: int, relu: bool) -> None:
    maps, layer = drawn(2, channels, 5, 7), conv(channels, 32)
    out, wanted = gradients(layer, maps, own=False, relu=relu)
    own_out, own = gradients(layer, maps, own=True, relu=relu)
    assert torch.equal(own_out, out) and type(own_out.grad_fn).__name__.startswith("_Conv3x3")
    for value, reference in zip(own, wanted, strict=True):
        assert value.dtype == reference.dtype == torch.float32
        assert float((value - reference).abs().max()) < 0.01 * float(reference.abs().max())
    assert own[1].stride() == layer.weight.stride()


def test_in_float32_and_without_trained_weights_autograd_has_the_layer_itself() -> None:
    maps, layer = drawn(1, 512, 3, 3).requires_grad_(), conv(512, 4)
    assert not type(conv3x3(layer, maps).grad_fn).__name__.startswith("_Conv3x3")
    layer.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        assert not type(conv3x3(layer, maps).grad_fn).__name__.startswith("_Conv3x3")


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bf16", [False, True])
@torch.no_grad()
def test_without_a_gradient_it_has_the_same_bits(bf16: bool, relu: bool) -> None:
    for channels in (3, 64):
        maps, layer = drawn(2, channels, 9, 13), conv(channels, 32)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            wanted = torch.relu(layer(maps)) if relu else layer(maps)
            assert torch.equal(conv3x3(layer, maps, relu=relu), wanted)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size", [(6, 8), (7, 9), (2, 3)])
@torch.no_grad()
def test_pooling_has_the_same_bits(size: tuple[int, int], ceil_mode: bool) -> None:
    layer, maps = nn.MaxPool2d(2, ceil_mode=ceil_mode), drawn(2, 5, *size).bfloat16()
    assert torch.equal(max_pool(layer, maps), layer(maps))

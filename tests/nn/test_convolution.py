"""What is computed in another way on a CPU: the same bits forward, the same gradient up to rounding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.nn import convolution
from pipeline.nn.convolution import conv3x3, max_pool, weight_gradient, weight_gradient_by


def drawn(*shape: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))
    return values.contiguous(memory_format=torch.channels_last)


def conv(channels: int, out: int, *, bias: bool = True) -> nn.Conv2d:
    layer = nn.Conv2d(channels, out, 3, padding=1, bias=bias)
    with torch.no_grad():
        layer.weight.copy_(drawn(*layer.weight.shape) * 0.05)
        if layer.bias is not None:
            layer.bias.copy_(torch.linspace(-1, 1, out))
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
    return out, list(torch.autograd.grad(out.float().square().sum(), [maps, *layer.parameters()]))


@pytest.fixture(params=[True, False], ids=["AMX", "no AMX"])
def amx(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(convolution, "has_amx", lambda: request.param)
    return bool(request.param)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("channels", [8, 512])
def test_gradients_by_products_are_for_wide_layers_on_amx_alone(
    channels: int, relu: bool, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = []

    def counted(maps: Tensor, gradient: Tensor) -> Tensor:
        products.append(weight_gradient(maps, gradient))
        return products[-1]

    monkeypatch.setattr(convolution, "weight_gradient", counted)
    maps, layer = drawn(2, channels, 5, 7), conv(channels, 32)
    _, wanted = gradients(layer, maps, own=False, relu=relu)
    _, own = gradients(layer, maps, own=True, relu=relu)
    assert len(products) == (amx and channels == 512)
    assert products or all(torch.equal(*pair) for pair in zip(own, wanted, strict=True))


def test_what_computes_the_gradient_is_told(amx: bool) -> None:
    assert weight_gradient_by(True, "cpu") == ("products" if amx else "layer")
    assert weight_gradient_by(False, "cpu") == weight_gradient_by(True, "cuda") == "layer"


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_under_autocast_outputs_are_equal_and_gradients_differ_by_rounding_only(
    relu: bool, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution, "has_amx", lambda: True)
    maps, layer = drawn(2, 512, 5, 7), conv(512, 32, bias=bias)
    out, wanted = gradients(layer, maps, own=False, relu=relu)
    own_out, own = gradients(layer, maps, own=True, relu=relu)
    assert torch.equal(own_out, out) and type(own_out.grad_fn).__name__.startswith("_Conv3x3")
    for value, reference in zip(own, wanted, strict=True):
        assert value.dtype == reference.dtype == torch.float32
        assert float((value - reference).abs().max()) < 0.01 * float(reference.abs().max())
    assert own[1].stride() == layer.weight.stride()


def test_in_float32_and_without_trained_weights_autograd_has_the_layer_itself(amx: bool) -> None:
    maps, layer = drawn(1, 512, 3, 3).requires_grad_(), conv(512, 4)
    assert not type(conv3x3(layer, maps).grad_fn).__name__.startswith("_Conv3x3")
    layer.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        assert not type(conv3x3(layer, maps).grad_fn).__name__.startswith("_Conv3x3")


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bf16", [False, True])
@torch.no_grad()
def test_without_a_gradient_it_has_the_same_bits(bf16: bool, relu: bool) -> None:
    for channels, bias in ((3, True), (64, True), (64, False)):
        maps, layer = drawn(2, channels, 9, 13), conv(channels, 32, bias=bias)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            wanted = torch.relu(layer(maps)) if relu else layer(maps)
            assert torch.equal(conv3x3(layer, maps, relu=relu), wanted)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size", [(6, 8), (7, 9), (2, 3)])
@torch.no_grad()
def test_pooling_has_the_same_bits(size: tuple[int, int], ceil_mode: bool) -> None:
    layer, maps = nn.MaxPool2d(2, ceil_mode=ceil_mode), drawn(2, 5, *size).bfloat16()
    assert torch.equal(max_pool(layer, maps), layer(maps))

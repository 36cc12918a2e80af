"""Kept memory for wide layers: the bits of nn.Linear, in the same place in every iteration."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from pipeline.nn import linear
from pipeline.nn.linear import KeptLinear


@pytest.fixture(autouse=True)
def every_layer_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_LEAST_WEIGHTS", 0)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layers(features: int = 48, out: int = 32) -> tuple[KeptLinear, nn.Linear]:
    own, plain = KeptLinear(features, out), nn.Linear(features, out)
    with torch.no_grad():
        own.weight.copy_(drawn(0, out, features) * 0.1)
        own.bias.copy_(drawn(1, out))
    plain.load_state_dict(copy.deepcopy(own.state_dict()))
    return own, plain


def backward(layer: nn.Linear, values: Tensor, bf16: bool) -> tuple[Tensor, Tensor]:
    values = values.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        out = torch.relu(layer(values))
    out.float().square().sum().backward()
    assert values.grad is not None
    return out.detach(), values.grad


@pytest.mark.parametrize("bf16", [True, False])
def test_several_steps_have_the_bits_of_the_layer_itself(bf16: bool) -> None:
    own, plain = layers()
    optimisers = [
        torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9, fused=True, weight_decay=1e-3)
        for layer in (own, plain)
    ]
    for iteration in range(3):
        values = drawn(2 + iteration, 20, 48)
        for found, wanted in zip(backward(own, values, bf16), backward(plain, values, bf16), strict=True):
            assert torch.equal(found, wanted) and found.dtype == wanted.dtype
        for one, other in zip(own.parameters(), plain.parameters(), strict=True):
            assert one.grad is not None and other.grad is not None and torch.equal(one.grad, other.grad)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        assert torch.equal(own.weight, plain.weight) and torch.equal(own.bias, plain.bias)


def test_the_gradient_lies_in_the_same_memory_in_every_iteration() -> None:
    own, _ = layers()
    places = set()
    for iteration in range(3):
        backward(own, drawn(iteration, 20, 48), True)
        assert own.weight.grad is not None
        places.add(own.weight.grad.data_ptr())
        own.zero_grad(set_to_none=True)
    assert len(places) == 1


def test_weights_written_by_whatever_means_are_rounded_anew() -> None:
    own, plain = layers()
    backward(own, drawn(0, 4, 48), True)
    changed = {name: value + 1 for name, value in plain.state_dict().items()}
    for layer in (own, plain):
        layer.load_state_dict(copy.deepcopy(changed))
    assert torch.equal(backward(own, drawn(1, 4, 48), True)[0], backward(plain, drawn(1, 4, 48), True)[0])
    for layer in (own, plain):
        layer.weight.data = layer.weight.data * 2
    assert torch.equal(backward(own, drawn(1, 4, 48), True)[0], backward(plain, drawn(1, 4, 48), True)[0])


def test_a_copy_and_a_file_of_the_layer_hold_its_weights_alone() -> None:
    own, plain = layers()
    values = drawn(1, 4, 48)
    before = len(pickle.dumps(own))
    backward(own, values, True)
    own.weight.grad = None
    assert len(pickle.dumps(own)) == before
    for other in (copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        assert torch.equal(backward(other, values, True)[1], backward(plain, values, True)[1])
    assert own.weight.grad is None


@pytest.mark.parametrize("bf16", [True, False])
def test_a_gradient_lies_as_its_weights_do_as_the_fused_step_takes_for_granted(bf16: bool) -> None:
    own, plain = layers()
    for layer in (own, plain):
        backward(layer, drawn(1, 4, 48), bf16)
        layer.zero_grad()
        layer.weight.data = layer.weight.detach().t().contiguous().t()
        optimiser = torch.optim.SGD(layer.parameters(), lr=0.01, fused=True)
        backward(layer, drawn(2, 4, 48), bf16)
        optimiser.step()
    torch.testing.assert_close(own.weight, plain.weight, rtol=1e-5, atol=1e-6)


def test_gradients_of_two_passes_are_added() -> None:
    own, plain = layers()
    for seed in (5, 6):
        for layer in (own, plain):
            backward(layer, drawn(seed, 20, 48), True)
    assert own.weight.grad is not None and plain.weight.grad is not None
    assert torch.equal(own.weight.grad, plain.weight.grad)


def test_without_a_gradient_and_with_frozen_weights_it_is_the_layer_itself() -> None:
    own, plain = layers()
    values = drawn(3, 4, 48)
    with torch.no_grad():
        assert torch.equal(own(values), plain(values))
    own.requires_grad_(False)
    assert type(own(values.requires_grad_()).grad_fn).__name__ == "AddmmBackward0"
    assert list(own.state_dict()) == ["weight", "bias"]

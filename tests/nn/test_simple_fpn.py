"""The simple feature pyramid: levels of one map, as ViTDet makes them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.trunk_settings import NeckSettings
from pipeline.nn.necks.simple_fpn import SimpleFPN

BELOW = MapLayout((Level(16, 12, round_up=True),), 16)


@pytest.fixture
def neck() -> SimpleFPN:
    neck = SimpleFPN(BELOW, NeckSettings("simple_fpn", channels=6))
    neck.initialise(torch.Generator().manual_seed(0))
    return neck.eval()


def normed(maps: Tensor) -> Tensor:
    mean, spread = maps.mean(dim=1, keepdim=True), maps.var(dim=1, unbiased=False, keepdim=True)
    return (maps - mean) / (spread + 1e-6).sqrt()


@pytest.mark.parametrize(("height", "width"), [(96, 64), (75, 131), (16, 16), (1, 300)])
def test_levels_have_the_sizes_of_the_layout(neck: SimpleFPN, height: int, width: int) -> None:
    (below,) = MapLayout(BELOW.levels, 16).sizes(*neck.layout.padded(torch.tensor([height, width]).numpy()).tolist())
    with torch.inference_mode():
        levels = neck((torch.ones(1, 12, *below),))
    assert tuple(tuple(own.shape[2:]) for own in levels) == neck.layout.sizes(height, width)
    assert neck.layout.strides == (4, 8, 16, 32, 64) and neck.layout.pooled.strides == (4, 8, 16, 32)
    assert all(own.shape[1] == 6 for own in levels)


def test_levels_are_the_map_enlarged_as_it_is_and_halved(neck: SimpleFPN) -> None:
    maps = torch.randn(2, 12, 5, 7, generator=torch.Generator().manual_seed(1))
    weights = {name: value.detach() for name, value in neck.named_parameters()}

    def merged(own: Tensor, level: int, first: int) -> Tensor:
        reduced = normed(functional.conv2d(own, weights[f"levels.{level}.{first}.weight"]))
        return normed(functional.conv2d(reduced, weights[f"levels.{level}.{first + 2}.weight"], padding=1))

    def enlarged(own: Tensor, layer: str) -> Tensor:
        return functional.conv_transpose2d(own, weights[f"{layer}.weight"], weights[f"{layer}.bias"], stride=2)

    with torch.inference_mode():
        made = neck((maps,))
        once = functional.gelu(normed(enlarged(maps, "levels.0.0")))
        expected = [
            merged(enlarged(once, "levels.0.3"), 0, 4),
            merged(enlarged(maps, "levels.1.0"), 1, 1),
            merged(maps, 2, 0),
            merged(functional.max_pool2d(maps, 2, ceil_mode=True), 3, 1),
        ]
        expected.append(expected[-1][:, :, ::2, ::2])
    for own, other in zip(made, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-5)


def test_all_of_it_is_trained_and_fresh_weights_follow_from_the_generator(neck: SimpleFPN) -> None:
    other = SimpleFPN(BELOW, NeckSettings("simple_fpn", channels=6))
    other.initialise(torch.Generator().manual_seed(0))
    assert all(value.equal(neck.state_dict()[name]) for name, value in other.state_dict().items())
    maps = torch.randn(1, 12, 4, 4, generator=torch.Generator().manual_seed(1))
    torch.stack([own.pow(3).sum() for own in neck((maps,))]).sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in neck.parameters())

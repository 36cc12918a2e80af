"""3x3 convolutions at a few cells: the values and gradients of the same layers on whole maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.nn.cells import conv3x3_at, neighbours

SIZES = ((6, 9), (3, 5), (1, 2))


def pyramid(images: int, channels: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [
        torch.randn(images, channels, *size, generator=draw, dtype=torch.float64)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
        for size in SIZES
    ]


def whole(layers: list[nn.Conv2d], maps: list[Tensor]) -> Tensor:
    """(N, E) of all cells."""
    found = []
    for own in maps:
        for layer in layers:
            own = layer(own).relu()
        found.append(own.permute(0, 2, 3, 1).flatten(0, 2))
    return torch.cat(found)


@pytest.mark.parametrize("cells", [[0, 8, 21, 53, 54, 107, 108, 140, 141], [], [141], list(range(142))])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_values_and_gradients_are_those_of_whole_maps(cells: list[int], depth: int) -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 4, 3, padding=1, dtype=torch.float64) for _ in range(depth)]
    maps, wanted = pyramid(2, 4), torch.tensor(cells, dtype=torch.int64)
    leaves = [*maps, *(weight for layer in layers for weight in layer.parameters())]
    found, expected = conv3x3_at(layers, maps, wanted), whole(layers, maps)[wanted]
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    for own, theirs in zip(
        torch.autograd.grad((found * weights).sum(), leaves),
        torch.autograd.grad((expected * weights).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(own, theirs)


def test_what_a_kernel_sees_ends_at_the_border_of_its_own_map() -> None:
    seen = neighbours(torch.tensor([0, 53, 54, 141]), [(2, *size) for size in SIZES])
    assert seen[0].tolist() == [-1, -1, -1, -1, 0, 1, -1, 9, 10]
    assert seen[1].tolist() == [43, 44, -1, 52, 53, -1, -1, -1, -1]
    assert seen[2].tolist() == [-1, -1, -1, -1, 54, 55, -1, 63, 64]
    assert seen[3].tolist() == [-1, -1, -1, 140, 141, -1, -1, -1, -1]

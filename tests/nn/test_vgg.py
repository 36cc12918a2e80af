"""The VGG trunks: torchvision's layers, frozen blocks, padding and the rounding of the poolings."""

from __future__ import annotations

import pytest
import torch
import torchvision.models
from torch import Tensor, nn

from pipeline.nn.backbones.build import build_trunk
from pipeline.nn.backbones.trunk import IMAGENET_MEAN, IMAGENET_STD, Trunk


def tiny_trunk(frozen_stages: int = 2, ceil_pool: bool = False) -> Trunk:
    trunk = build_trunk("tiny", frozen_stages=frozen_stages, ceil_pool=ceil_pool)
    trunk.initialise(torch.Generator().manual_seed(0))
    return trunk


def random_images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def block_of(trunk: Trunk, name: str) -> int:
    """The block, counted from 0, of a weight named `layers.N.weight`: the poolings before it."""
    return sum(isinstance(layer, nn.MaxPool2d) for layer in trunk.layers[: int(name.split(".")[1])])


def test_layers_are_torchvisions_features_without_the_last_pool_by_name_shape_and_result() -> None:
    trunk = build_trunk("vgg16", frozen_stages=2, ceil_pool=False).eval()
    with torch.device("meta"):
        features = torchvision.models.vgg16(weights=None).features[:-1]
    own = {name: value.shape for name, value in trunk.layers.state_dict().items()}
    assert own == {name: value.shape for name, value in features.state_dict().items()}
    features.load_state_dict(trunk.layers.state_dict(), assign=True)
    images = random_images(1, 3, 32, 48)
    with torch.no_grad():
        (maps,) = trunk(images.clone())
        assert float(maps.std()) > 0
        torch.testing.assert_close(maps, features.eval()(images.clone()))


@pytest.mark.parametrize("frozen_stages", range(6))
def test_frozen_stages_get_no_gradient_and_all_others_do(frozen_stages: int) -> None:
    trunk = tiny_trunk(frozen_stages)
    (maps,) = trunk(random_images(2, 3, 32, 32))
    if maps.requires_grad:
        (maps * random_images(*maps.shape)).sum().backward()
    for name, weight in trunk.named_parameters():
        trained = block_of(trunk, name) >= frozen_stages
        assert (weight.grad is not None, weight.requires_grad) == (trained, trained), name


@pytest.mark.parametrize(("frozen_stages", "passes"), [(0, True), (1, False)])
def test_no_gradient_passes_the_frozen_stages_to_what_lies_before_them(frozen_stages: int, passes: bool) -> None:
    images = random_images(2, 3, 32, 32).requires_grad_()
    tiny_trunk(frozen_stages)(images)[0].sum().backward()
    assert (images.grad is not None) == passes


def test_nothing_of_the_frozen_stages_changes_in_training_mode() -> None:
    trunk = tiny_trunk(frozen_stages=2).train()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    trunk(random_images(2, 3, 32, 32) + 3)
    for name, value in trunk.state_dict().items():
        if name.startswith("layers.") and block_of(trunk, name) < 2:
            assert torch.equal(value, before[name]), name


def test_pixels_are_normalised_as_the_imagenet_weights_want_them() -> None:
    images = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    normalised = tiny_trunk().normalise(images, [(5, 7), (5, 7)])
    mean, std = (torch.tensor(value).reshape(3, 1, 1) for value in (IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(normalised, (images.float() / 255 - mean) / std, rtol=1e-5, atol=1e-5)
    assert torch.equal(images, before)


def test_normalising_zeroes_the_padding_of_each_image_and_nothing_else() -> None:
    images = torch.full((3, 3, 6, 8), 200, dtype=torch.uint8)
    sizes = [(6, 8), (4, 8), (6, 3)]
    normalised = tiny_trunk().normalise(images, sizes)
    for image, (height, width) in zip(normalised, sizes, strict=True):
        assert bool((image[:, :height, :width] != 0).all())
        assert int((image != 0).sum()) == 3 * height * width


def test_pixel_statistics_travel_with_the_weights() -> None:
    assert {"pixel_mean", "pixel_std"} <= tiny_trunk().state_dict().keys()


@pytest.mark.parametrize("ceil_pool", [False, True])
@pytest.mark.parametrize("size", [(32, 48), (33, 47), (50, 38), (17, 31), (8, 8), (7, 40), (40, 7), (1, 1), (1, 25)])
def test_announced_feature_size_is_that_of_the_maps(size: tuple[int, int], ceil_pool: bool) -> None:
    trunk = tiny_trunk(ceil_pool=ceil_pool).eval()
    with torch.no_grad():
        (maps,) = trunk(torch.zeros(1, 3, *size))
    assert maps.shape == (1, trunk.layout.channels, *trunk.layout.sizes(*size)[0])


@pytest.mark.parametrize("size", [(4, 320), (320, 3), (1, 1)])
def test_an_image_thinner_than_a_stride_has_the_map_of_its_pixels_among_zeros(size: tuple[int, int]) -> None:
    """As in a batch with a larger image, whether or not the maps of the frozen blocks lie in between."""
    height, width = size
    pixels = random_images(1, 3, height, width)
    for frozen_stages in (0, 2, 4):
        trunk = tiny_trunk(frozen_stages=frozen_stages).eval()
        padded = torch.zeros(1, 3, *(max(side, trunk.layout.least_side) for side in (height, width)))
        padded[:, :, :height, :width] = pixels
        with torch.no_grad():
            (maps,), (expected,) = trunk(pixels), trunk(padded)
        assert (maps.shape[2:],) == trunk.layout.sizes(height, width)
        assert torch.equal(maps, expected)


@pytest.mark.parametrize("name", ["tiny", "vgg16"])
def test_stride_is_what_a_side_is_divided_by_and_ceil_pool_rounds_odd_sides_up(name: str) -> None:
    with torch.device("meta"):
        floor, ceil = (build_trunk(name, frozen_stages=2, ceil_pool=ceil_pool) for ceil_pool in (False, True))
    (stride,) = floor.layout.strides
    assert floor.layout.sizes(3 * stride, 5 * stride) == ceil.layout.sizes(3 * stride, 5 * stride) == ((3, 5),)
    assert floor.layout.sizes(3 * stride + 1, 6 * stride - 1) == ((3, 5),)
    assert ceil.layout.sizes(3 * stride + 1, 6 * stride - 1) == ((4, 6),)


def test_maps_of_an_image_do_not_depend_on_what_is_batched_with_it() -> None:
    trunk, images = tiny_trunk().eval(), random_images(2, 3, 48, 32)
    with torch.no_grad():
        torch.testing.assert_close(trunk(images)[0][1:], trunk(images[1:])[0])

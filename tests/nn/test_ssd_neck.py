"""SSD's necks: the cells of their levels, what a frozen VGG gives them, and fresh weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.building.pretrained import load_pretrained
from pipeline.geometry.backbones import layout_of
from pipeline.geometry.trunk_settings import ALL_STAGES, NeckSettings
from pipeline.nn.backbones.build import build_trunk
from pipeline.nn.backbones.trunk import Trunk
from tests.ssd_models import make_thin

CELLS = {"ssd300": (38, 19, 10, 5, 3, 1), "ssd512": (64, 32, 16, 8, 4, 2, 1)}
SIDES = {"ssd300": 300, "ssd512": 512}


@pytest.fixture(autouse=True)
def _thin(monkeypatch: pytest.MonkeyPatch) -> None:
    make_thin(monkeypatch)


def drawn(name: str = "ssd300", backbone: str = "vgg16", frozen_stages: int = 0) -> Trunk:
    trunk = build_trunk(backbone, ceil_pool=True, frozen_stages=frozen_stages, neck=NeckSettings(name))
    draw = torch.Generator().manual_seed(0)
    trunk.initialise(draw)
    assert trunk.neck
    trunk.neck.initialise(draw)
    return trunk.eval()


def image(*size: int) -> Tensor:
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", CELLS)
def test_the_cells_are_those_of_the_paper(name: str) -> None:
    side = SIDES[name]
    trunk = drawn(name)
    with torch.no_grad():
        maps = trunk(image(side, side))
    assert trunk.layout.sizes(side, side) == tuple((cells, cells) for cells in CELLS[name])
    levels = zip(maps, trunk.layout.levels, CELLS[name], strict=True)
    assert all(own.shape[1:] == (level.channels, cells, cells) for own, level, cells in levels)


def test_the_levels_have_the_papers_strides_and_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # of all channels
    own = {name: layout_of("vgg16", ceil_pool=True, neck=NeckSettings(name)) for name in CELLS}
    assert own["ssd300"].strides == (8, 16, 32, 64, 100, 300)
    assert own["ssd512"].strides == (8, 16, 32, 64, 128, 256, 512)
    assert [level.channels for level in own["ssd300"].levels] == [512, 1024, 512, 256, 256, 256]
    assert [level.channels for level in own["ssd512"].levels] == [512, 1024, 512, 256, 256, 256, 256]


@pytest.mark.parametrize("size", [(64, 64), (256, 256), (100, 131), (7, 200), (65, 64)])
def test_the_tiny_trunk_has_three_further_levels_in_images_of_any_size(size: tuple[int, int]) -> None:
    trunk = drawn("ssd_tiny", "tiny")
    with torch.no_grad():
        maps = trunk(image(*size))
    assert trunk.layout.strides == (8, 16, 32, 64)
    assert tuple(tuple(own.shape[2:]) for own in maps) == trunk.layout.sizes(*size)
    assert [own.shape[1] for own in maps] == [level.channels for level in trunk.layout.levels]


@pytest.mark.parametrize("frozen_stages", [1, 3, 4, 5, ALL_STAGES])
def test_frozen_blocks_change_no_map_and_have_no_gradient(frozen_stages: int) -> None:
    trunk, free = drawn(frozen_stages=frozen_stages), drawn()
    pixels = image(300, 300)
    kept = trunk.frozen(pixels)
    assert len(kept) == trunk.frozen_levels and not any(own.requires_grad for own in kept)
    maps, expected = trunk.trained(kept), free(pixels)
    for own, level in zip(maps, expected, strict=True):
        torch.testing.assert_close(own, level, rtol=1e-5, atol=1e-5 * float(level.detach().abs().max()))
    torch.stack([own.mean() for own in maps]).sum().backward()
    blocks = {name: int(name.split(".")[1]) for name, _ in trunk.named_parameters() if name.startswith("layers.")}
    starts = (0, 5, 10, 17, 24, 30)
    for name, weight in trunk.named_parameters():
        assert (weight.grad is None) == (name in blocks and blocks[name] < starts[frozen_stages]), name


def test_the_first_map_is_normalised_over_its_channels() -> None:
    trunk = drawn()
    with torch.no_grad():
        (first, *_) = trunk(image(300, 300))
        assert trunk.neck
        trunk.neck.get_parameter("scale_weight")[0] *= 2
        (scaled, *_) = trunk(image(300, 300))
    norms = first.square().sum(dim=1).sqrt()
    torch.testing.assert_close(norms, torch.full_like(norms, 20.0), rtol=1e-5, atol=0)
    assert torch.equal(scaled[:, 1:], first[:, 1:]) and torch.equal(scaled[:, 0], first[:, 0] * 2)


def test_published_weights_fill_the_backbone_and_leave_the_neck_and_no_classifier() -> None:
    plain = build_trunk("vgg16")
    plain.initialise(torch.Generator().manual_seed(5))
    published = {f"features.{name}": value for name, value in plain.layers.state_dict().items()}
    published |= {"classifier.0.weight": torch.zeros(3, 3), "classifier.0.bias": torch.zeros(3)}
    trunk = drawn()
    before = {name: value.clone() for name, value in trunk.state_dict().items() if name.startswith("neck.")}
    assert load_pretrained(trunk, published, "file") == {} and trunk.neck
    assert trunk.neck.take_published(published) == ()  # of another network
    assert all(torch.equal(trunk.layers.state_dict()[name], own) for name, own in plain.layers.state_dict().items())
    assert all(torch.equal(trunk.state_dict()[name], value) for name, value in before.items())


def test_fc6_and_fc7_start_from_a_published_classifiers_where_it_has_numbers() -> None:
    trunk = drawn()
    assert trunk.neck
    fc6, fc7 = (trunk.neck.get_submodule(f"extra.0.{layer}") for layer in (1, 3))
    wide, depth = 256, 32  # of a sixteenth of the channels
    draw = torch.Generator().manual_seed(3)
    shapes = {"0.weight": (wide, depth * 49), "0.bias": (wide,), "3.weight": (wide, wide), "3.bias": (wide,)}
    state = {f"classifier.{name}": torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    assert trunk.neck.take_published({name: value * torch.nan for name, value in state.items()}) == ()
    assert bool(fc6.get_parameter("weight").isfinite().all())
    assert trunk.neck.take_published(state) == ("fc6", "fc7")
    of_6 = state["classifier.0.weight"].reshape(wide, depth, 7, 7)
    for place in ((5, 3, 1, 2), (63, 31, 0, 2), (0, 0, 2, 0)):
        to, of, row, column = place
        assert fc6.get_parameter("weight")[place] == of_6[4 * to, of, 3 * row, 3 * column]
        assert fc7.get_parameter("weight")[to, of, 0, 0] == state["classifier.3.weight"][4 * to, 4 * of]
    assert torch.equal(fc7.get_parameter("bias"), state["classifier.3.bias"][::4])

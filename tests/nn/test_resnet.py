"""ResNet trunks and the FPN: torchvision's maps, the layouts they declare, what is frozen, the stride's two places."""

from __future__ import annotations

import copy
import pickle
from typing import cast

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import BackboneWithFPN, _resnet_fpn_extractor
from torchvision.models.resnet import ResNet
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from pipeline.geometry.backbones import RESNETS
from pipeline.geometry.trunk_settings import ALL_STAGES, NeckSettings
from pipeline.nn.backbones.build import BACKBONES, build_trunk
from pipeline.nn.backbones.frozen_norm import FrozenBatchNorm
from pipeline.nn.backbones.resnet import STAGES, ResNetTrunk

FPN = NeckSettings("fpn")


P3_P7 = NeckSettings("fpn_p3_p7")


def drawn(name: str, *, neck: NeckSettings | None = FPN, **own: object) -> ResNetTrunk:
    """A trunk whose weights, statistics among them, are random and keep its maps of ordinary size."""
    trunk = cast(ResNetTrunk, build_trunk(name, neck=neck, **own))
    generator = torch.Generator().manual_seed(0)
    trunk.initialise(generator)
    if trunk.neck:
        trunk.neck.initialise(generator)
    for module in trunk.modules():
        if isinstance(module, FrozenBatchNorm):
            for value in (module.running_var, module.weight):
                value.mul_(torch.empty_like(value).uniform_(0.8, 1.25, generator=generator))
            for value in (module.running_mean, module.bias):
                value.normal_(std=0.1, generator=generator)
    return trunk.eval()


def images(height: int, width: int, count: int = 1) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def theirs(name: str, norm: str, epsilon: float) -> BackboneWithFPN:
    """torchvision's ResNet with its FPN."""
    norms = {"none": None, "batch": FrozenBatchNorm2d}
    body = torchvision.models.get_model(name, norm_layer=FrozenBatchNorm2d)
    levels = {stage: str(index) for index, stage in enumerate(STAGES)}
    channels = [RESNETS[name].channels(stage) for stage in range(4)]
    peer = BackboneWithFPN(body, levels, channels, 256, norm_layer=norms[norm])
    for module in peer.body.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = epsilon
    return cast(BackboneWithFPN, peer.eval())


def renamed(trunk: ResNetTrunk) -> dict[str, Tensor]:
    """The trunk's weights under torchvision's names."""
    own = {name: value for name, value in trunk.state_dict().items() if not name.startswith("pixel")}
    return {name.replace("layers.", "body.", 1).replace("neck.", "fpn.", 1): value for name, value in own.items()}


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "norm", "epsilon"), [("resnet18", "none", 1e-5), ("resnet50", "none", 0.0), ("resnet50", "batch", 1e-5)]
)
def test_maps_of_every_level_are_torchvisions(name: str, norm: str, epsilon: float) -> None:
    trunk, peer = drawn(name, neck=NeckSettings("fpn", norm=norm), norm_epsilon=epsilon), theirs(name, norm, epsilon)
    peer.load_state_dict(renamed(trunk))
    batch = images(160, 224, 2)
    for own, expected in zip(trunk(batch), peer(batch).values(), strict=True):
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@torch.inference_mode()
def test_c4_is_torchvisions_layer3_and_what_follows_belongs_to_the_head() -> None:
    trunk, peer = drawn("resnet18", neck=None), cast(ResNet, torchvision.models.resnet18(norm_layer=FrozenBatchNorm2d))
    left = peer.load_state_dict(
        {name[7:]: own for name, own in trunk.state_dict().items() if name[:6] == "layers"}, False
    )
    assert {name.split(".")[0] for name in left.missing_keys} == {"layer4", "fc"} and not left.unexpected_keys
    stem = peer.maxpool(peer.relu(peer.bn1(peer.conv1(images(96, 130)))))
    expected = peer.layer3(peer.layer2(peer.layer1(stem)))
    torch.testing.assert_close(*trunk(images(96, 130)), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert dict(trunk.published_head) == {"layer4.": "res5."}


@pytest.mark.parametrize("name", RESNETS)
def test_names_and_shapes_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        trunk, peer = build_trunk(name, neck=FPN), torchvision.models.get_model(name)
    published = {k: v.shape for k, v in peer.state_dict().items() if not k.endswith("tracked") and k[:3] != "fc."}
    assert {k: v.shape for k, v in trunk.layers.state_dict().items()} == published


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 140), st.integers(1, 140), st.sampled_from([1, 32]), st.sampled_from([None, FPN, P3_P7]))
def test_maps_have_the_sizes_of_the_layout_however_thin_the_image(
    high: int, wide: int, multiple: int, neck: NeckSettings | None
) -> None:
    trunk = build_trunk("resnet18", size_divisible=multiple, neck=neck)
    with torch.inference_mode():
        maps = trunk(images(high, wide))
    assert tuple(tuple(own.shape[2:]) for own in maps) == trunk.layout.sizes(high, wide)
    assert [own.shape[1] for own in maps] == [level.channels for level in trunk.layout.levels]


def test_the_levels_of_an_fpn() -> None:
    layout = build_trunk("resnet18", neck=FPN, size_divisible=32).layout
    assert layout.strides == (4, 8, 16, 32, 64) and layout.pooled.strides == (4, 8, 16, 32)
    assert layout.sizes(300, 401) == ((80, 104), (40, 52), (20, 26), (10, 13), (5, 7))
    assert layout.pooled.multiple == 32


def test_the_levels_of_p3_to_p7() -> None:
    layout = build_trunk("resnet18", neck=P3_P7, size_divisible=32).layout
    assert layout.strides == (8, 16, 32, 64, 128) and layout.pooled.strides == (8, 16, 32)
    assert all(level.round_up for level in layout.levels)
    assert layout.sizes(300, 401) == ((40, 52), (20, 26), (10, 13), (5, 7), (3, 4))


@torch.inference_mode()
@pytest.mark.parametrize(("p6_from", "norm"), [("p5", "none"), ("c5", "none"), ("c5", "batch")])
def test_p3_to_p7_are_torchvisions(p6_from: str, norm: str) -> None:
    """Its backbone of RetinaNet and FCOS, in images of odd sides."""
    trunk = drawn("resnet18", neck=NeckSettings("fpn_p3_p7", norm=norm, p6_from=p6_from))
    assert trunk.neck is not None and trunk.neck.state_dict()["extra_blocks.p7.bias"].count_nonzero() == 0
    draw = torch.Generator().manual_seed(2)
    for name, weight in trunk.neck.named_parameters():
        if name.endswith("bias"):
            weight.normal_(std=0.1, generator=draw)
    peer = _resnet_fpn_extractor(
        cast(ResNet, torchvision.models.resnet18(norm_layer=FrozenBatchNorm2d)),
        0,
        [2, 3, 4],
        LastLevelP6P7(256 if p6_from == "p5" else 512, 256),
        FrozenBatchNorm2d if norm == "batch" else None,
    )
    own_names, names = renamed(trunk), peer.state_dict()
    assert own_names.keys() == names.keys()
    peer.eval().load_state_dict(own_names)
    for size in ((161, 223), (321, 130)):
        expected = peer(images(*size))
        assert list(expected) == ["0", "1", "2", "p6", "p7"]
        assert tuple(tuple(own.shape[2:]) for own in expected.values()) == trunk.layout.sizes(*size)
        for own, level in zip(trunk(images(*size)), expected.values(), strict=True):
            torch.testing.assert_close(own, level, rtol=0, atol=1e-5 * float(level.abs().max()))


@pytest.mark.parametrize("neck", [None, FPN, P3_P7])
@pytest.mark.parametrize("frozen", range(ALL_STAGES + 1))
def test_frozen_stages_keep_their_weights_and_the_others_start_from_their_maps(
    frozen: int, neck: NeckSettings | None
) -> None:
    trunk = drawn("resnet18", neck=neck, frozen_stages=frozen).train()
    batch = images(96, 64)
    maps = trunk.frozen(batch)
    assert len(maps) == trunk.frozen_levels and not any(own.requires_grad for own in maps)
    made = trunk.trained(maps)
    assert all(torch.equal(own, whole) for own, whole in zip(made, trunk(batch), strict=True))
    if any(own.requires_grad for own in made):
        sum(own.square().mean() for own in made).backward()  # type: ignore[union-attr]
    stages = ["conv1", *STAGES[: 4 if neck else 3]]
    learnt = {stage for stage in stages if any(w.grad is not None for w in trunk.layers[stage].parameters())}
    assert learnt == set(stages[frozen:])
    if trunk.neck:
        assert all(weight.grad is not None for weight in trunk.neck.parameters())


@torch.inference_mode()
def test_the_stride_of_a_bottleneck_is_in_its_3x3_or_in_its_1x1() -> None:
    trunk, caffe = drawn("resnet50", neck=None), drawn("resnet50", neck=None, stride_in_1x1=True)
    peer = cast(ResNet, torchvision.models.resnet50(norm_layer=FrozenBatchNorm2d))
    peer.load_state_dict({name[7:]: own for name, own in trunk.state_dict().items() if name[:6] == "layers"}, False)
    for layer in (peer.layer2, peer.layer3):
        first = cast(nn.Module, cast(nn.Sequential, layer)[0])
        first.conv1.stride, first.conv2.stride = (2, 2), (1, 1)
    stem = peer.maxpool(peer.relu(peer.bn1(peer.conv1(images(64, 96)))))
    expected = peer.layer3(peer.layer2(peer.layer1(stem)))
    torch.testing.assert_close(*caffe(images(64, 96)), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert not torch.allclose(*trunk(images(64, 96)), expected, atol=0.1)


def test_a_folded_norm_passes_the_convolutions_gradient_on() -> None:
    trunk = drawn("resnet18", neck=None)
    peer = cast(ResNet, torchvision.models.resnet18(norm_layer=FrozenBatchNorm2d))
    peer.load_state_dict({name[7:]: own for name, own in trunk.state_dict().items() if name[:6] == "layers"}, False)
    trunk(images(64, 64))[0].square().mean().backward()
    stem = peer.maxpool(peer.relu(peer.bn1(peer.conv1(images(64, 64)))))
    peer.layer3(peer.layer2(peer.layer1(stem))).square().mean().backward()
    for name, weight in trunk.layers.named_parameters():
        expected = peer.get_parameter(name).grad
        assert weight.grad is not None and expected is not None
        torch.testing.assert_close(weight.grad, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_maps_without_a_gradient_are_those_with_one(name: str) -> None:
    trunk, batch = drawn(name, frozen_stages=0), images(96, 130, 2)
    with torch.inference_mode():
        alone = trunk(batch)
    # In the other layout sums take no pass of their own.
    trunk, batch = trunk.to(memory_format=torch.channels_last), batch.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        last = trunk(batch)
    for own, other, expected in zip(alone, last, trunk(batch), strict=True):
        torch.testing.assert_close(other, own, rtol=0, atol=1e-5 * float(own.abs().max()))
        torch.testing.assert_close(own, expected.detach(), rtol=0, atol=1e-5 * float(own.abs().max()))


@pytest.mark.parametrize("name", BACKBONES)
def test_a_trunk_can_be_copied_and_pickled(name: str) -> None:
    with torch.device("meta"):
        trunk = build_trunk(name)
    for other in (copy.deepcopy(trunk), pickle.loads(pickle.dumps(trunk))):
        assert other.published_head == trunk.published_head and other.layout == trunk.layout


def test_folded_weights_are_not_kept_past_a_change_of_what_they_are_made_of() -> None:
    trunk, batch = drawn("resnet18", neck=None), images(64, 64)

    def maps() -> Tensor:
        with torch.inference_mode():
            return trunk(batch)[0].clone()

    before = maps()
    weight = cast(nn.Conv2d, trunk.layers["conv1"]).weight
    norm = cast(FrozenBatchNorm, trunk.layers["bn1"])
    assert copy.deepcopy(norm)._kept is None
    with torch.no_grad():
        weight.mul_(2)
    assert not torch.allclose(maps(), before)
    with torch.no_grad():
        weight.div_(2)
    torch.testing.assert_close(maps(), before)
    norm.running_mean.add_(0.5)
    assert not torch.allclose(maps(), before)
    norm.running_mean.sub_(0.5)
    maps()
    weight.data.mul_(2)  # which no version counts
    trunk.train()
    trunk.eval()
    assert not torch.allclose(maps(), before)
    after = maps()
    for layout in (torch.contiguous_format, torch.channels_last):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            low = trunk(batch.contiguous(memory_format=layout))[0]
        assert low.dtype == torch.bfloat16
        torch.testing.assert_close(low.float(), after, rtol=0, atol=0.05 * float(after.abs().max()))

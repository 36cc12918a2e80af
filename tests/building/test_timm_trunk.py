"""Trunks of timm's models: their maps are timm's, their layouts are what the models give, and what does not fit is
refused."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.artifacts.manifest import read_manifest
from pipeline.building.layout import map_layout
from pipeline.building.pretrained import load_pretrained
from pipeline.building.timm_model import levels_of, timm_maps, timm_version
from pipeline.building.timm_trunk import TimmTrunk
from pipeline.building.trunk import load_trunk, new_trunk
from pipeline.geometry.layout import Level
from pipeline.geometry.trunk_settings import NeckSettings, TrunkSettings
from pipeline.params.backbone import BackboneParams
from pipeline.runtime.errors import InputError
from tests.defaults import default_content
from tests.in_process import run_stage

timm = pytest.importorskip("timm", reason="timm is not installed: pip install '.[timm]'")

FPN = {"name": "fpn", "channels": 8}
SIMPLE = {"name": "simple_fpn", "channels": 8}
P3_P7 = {"name": "fpn_p3_p7", "channels": 8}
ALONE = {"name": "none"}
DINOV2 = "vit_small_patch14_dinov2"
KINDS = {
    "rounds up": ("test_resnet.r160_in1k", FPN, 1),
    "rounds down": ("test_convnext.r160_in1k", FPN, 1),
    "same padding": ("test_efficientnet.r160_in1k", P3_P7, 1),
    "one map": ("test_byobnet.r160_in1k", ALONE, 1),
    "transformer": ("test_vit.r160_in1k", ALONE, 16),
    "pyramid of a transformer": ("test_vit.r160_in1k", SIMPLE, 16),
}
"""A model, a neck and `size_divisible`."""


def params(model: str, neck: dict[str, Any], multiple: int = 1, frozen: int | str = "all") -> BackboneParams:
    content = default_content()["backbone"]
    content |= {"name": f"timm/{model}", "weights": "file", "frozen_stages": frozen, "size_divisible": multiple}
    content["neck"] |= neck
    return BackboneParams.model_validate(content)


def peer(model: str, seed: int = 0, **own: Any) -> nn.Module:
    """timm's whole model, its batch norms as if they had been trained."""
    torch.manual_seed(seed)
    net: nn.Module = timm.create_model(model, **own)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return net.eval()


def drawn(own: BackboneParams, seed: int = 0) -> TimmTrunk:
    trunk = new_trunk(own)
    assert isinstance(trunk, TimmTrunk)
    trunk.initialise(torch.Generator().manual_seed(seed))
    return trunk


@pytest.fixture(scope="module")
def trunks() -> dict[str, TimmTrunk]:
    return {kind: drawn(params(*own)) for kind, own in KINDS.items()}


def fault(model: str, neck: dict[str, Any], multiple: int = 1) -> str:
    with pytest.raises(InputError) as caught:
        map_layout(params(model, neck, multiple))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("model", ["test_resnet.r160_in1k", "test_efficientnet.r160_in1k"])
def test_maps_are_those_that_timm_gives_of_the_same_pixels(model: str) -> None:
    state = peer(model).state_dict()
    trunk = new_trunk(params(model, FPN))
    assert load_pretrained(trunk, dict(state), "weights") == {}
    theirs = timm.create_model(
        model,
        features_only=True,
        out_indices=(1, 2, 3, 4),
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": state},
    ).eval()
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 75, 131), np.uint8))
    cfg = theirs.pretrained_cfg
    mean, std = (torch.tensor(cfg[key])[:, None, None] for key in ("mean", "std"))
    with torch.inference_mode():
        ours = trunk.rest(trunk.frozen(trunk.normalise(pixels, [(75, 131)] * 2)))
        expected = theirs((pixels / 255 - mean) / std)
    assert [own.shape for own in ours] == [own.shape for own in expected]
    for own, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-5 * float(other.abs().max()))
        assert float(other.std()) > 0


def test_the_map_of_a_transformer_is_its_tokens_under_the_last_norm() -> None:
    model = "test_vit.r160_in1k"
    net = peer(model, dynamic_img_size=True)
    trunk = new_trunk(params(model, ALONE, 16))
    load_pretrained(trunk, net.state_dict(), "weights")
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (own,) = trunk(images)
        tokens: Tensor = net.forward_features(images)  # type: ignore[operator]
    prefix = int(net.num_prefix_tokens)  # type: ignore[arg-type]
    expected = tokens[:, prefix:].permute(0, 2, 1).reshape(1, -1, 4, 6)
    torch.testing.assert_close(own, expected, rtol=0, atol=1e-5)


@settings(max_examples=8, deadline=None)
@given(kind=st.sampled_from(sorted(KINDS)), height=st.integers(1, 90), width=st.integers(1, 90))
def test_maps_have_the_sizes_of_the_layout_however_odd_the_image(
    trunks: dict[str, TimmTrunk], kind: str, height: int, width: int
) -> None:
    trunk = trunks[kind]
    assert trunk.layout == map_layout(params(*KINDS[kind]))
    with torch.inference_mode():
        maps = trunk(torch.zeros(1, 3, height, width))
    assert tuple(tuple(own.shape[2:]) for own in maps) == trunk.layout.sizes(height, width)
    assert [own.shape[1] for own in maps] == [level.channels for level in trunk.layout.levels]


def test_layouts_are_read_off_the_models() -> None:
    def own(kind: str) -> list[tuple[int, int, bool]]:
        model, neck, multiple = KINDS[kind]
        with_neck = None if neck is ALONE else NeckSettings(neck["name"])
        levels = timm_maps(f"timm/{model}", TrunkSettings(size_divisible=multiple, neck=with_neck)).layout.levels
        return [(level.stride, level.channels, level.round_up) for level in levels]

    assert own("rounds up") == [(4, 32, True), (8, 48, True), (16, 192, True), (32, 96, True)]
    assert own("rounds down") == [(4, 24, False), (8, 32, False), (16, 48, False), (32, 64, False)]
    assert own("one map") == [(16, 128, True)]
    assert own("transformer") == [(16, 64, True)]


@pytest.mark.parametrize(
    ("model", "neck", "multiple", "said"),
    [
        ("test_vit", ALONE, 1, "takes no images of 17 x 16 px (Input width (17) should be divisible by patch size (16"),
        ("test_vit", ALONE, 24, "(images are padded to a multiple of 24 px); set backbone.size_divisible to 16"),
        ("test_vit", FPN, 32, "neck fpn stands on maps of strides 4, 8, 16 and 32, and this model has one of 16; set "),
        ("test_vit", FPN, 32, "set backbone.neck.name to simple_fpn or none, or choose another model"),
        (DINOV2, SIMPLE, 112, "neck simple_fpn stands on a map of stride 16, and this model has one of 14; set backb"),
        ("no_model", FPN, 1, f"backbone.name timm/no_model: timm {timm_version()} has no model no_model; timm.list_mo"),
        ("test_resnet.no_tag", FPN, 1, "(Invalid pretrained tag (no_tag) for test_resnet.); timm.list_models("),
    ],
)
def test_a_model_whose_maps_do_not_fit_is_refused(model: str, neck: dict[str, Any], multiple: int, said: str) -> None:
    assert said in fault(model, neck, multiple)


def test_maps_that_round_up_here_and_down_there_are_refused() -> None:
    def cells(first: bool, second: bool, height: int, width: int) -> list[tuple[int, tuple[int, int]]]:
        def halved(side: int, up: bool) -> int:
            return -(-side // 2) if up else side // 2

        once = [halved(side, first) for side in (height, width)]
        twice = [halved(side, second) for side in once]
        return [(3, (once[0], once[1])), (5, (twice[0], twice[1]))]

    for up in (True, False):
        assert levels_of((2, 4), 1, partial(cells, up, up)) == (Level(2, 3, up), Level(4, 5, up))
        mixed = partial(cells, up, not up)
        said = levels_of((2, 4), 1, mixed)
        assert isinstance(said, str) and said.startswith("its map of stride 4 has ")
        assert "px, and rounds neither up nor down throughout" in said
        assert levels_of((2, 4), 4, mixed) == (Level(2, 3, True), Level(4, 5, True))
        assert levels_of((2, 4), 2, mixed) == (Level(2, 3, True), Level(4, 5, not up))


@pytest.mark.parametrize("frozen", [0, "all"])
def test_a_model_is_trained_whole_or_frozen_whole(frozen: int | str) -> None:
    trunk = drawn(params("test_resnet", FPN, frozen=frozen)).train()
    maps = trunk.frozen(torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    assert len(maps) == trunk.frozen_levels == (1 if frozen == 0 else 4)
    before = {name: value.clone() for name, value in trunk.layers.state_dict().items()}
    sum(own.square().mean() for own in trunk.trained(maps)).backward()  # type: ignore[union-attr]
    trained = [weight.grad is not None for weight in trunk.layers.parameters()]
    assert trained and (all(trained) if frozen == 0 else not any(trained))
    assert trunk.neck is not None and all(weight.grad is not None for weight in trunk.neck.parameters())
    assert not any(module.training for module in trunk.layers.modules()) and trunk.neck.training
    assert all(torch.equal(value, before[name]) for name, value in trunk.layers.state_dict().items())
    assert not any("bn" in name for name, _ in trunk.layers.named_parameters())


def test_fresh_weights_follow_from_the_generator_alone() -> None:
    own = params("test_vit", ALONE, 16)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = drawn(own)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = drawn(own), drawn(own, seed=1)
    weights, others = first.state_dict(), other.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in again.state_dict().items())
    assert not torch.equal(others["layers.blocks.0.attn.qkv.weight"], weights["layers.blocks.0.attn.qkv.weight"])


def test_a_trunk_can_be_copied_and_pickled(trunks: dict[str, TimmTrunk]) -> None:
    trunk, images = trunks["rounds down"], torch.ones(1, 3, 40, 40)
    for other in (copy.deepcopy(trunk), pickle.loads(pickle.dumps(trunk))):
        assert all(torch.equal(*pair) for pair in zip(other(images), trunk(images), strict=True))


def test_weights_need_no_classifier_and_are_converted_as_timm_does() -> None:
    model, own = "test_vit.r160_in1k", params("test_vit.r160_in1k", ALONE, 16)
    state = {name: value for name, value in peer(model, img_size=224).state_dict().items() if "head" not in name}
    trunk = new_trunk(own)
    assert state["pos_embed"].shape != trunk.state_dict()["layers.pos_embed"].shape
    load_pretrained(trunk, dict(state), "weights")
    assert torch.equal(trunk.state_dict()["layers.blocks.0.mlp.fc1.weight"], state["blocks.0.mlp.fc1.weight"])


def test_weights_that_are_missing_or_of_another_model_are_named() -> None:
    trunk = new_trunk(params("test_resnet", FPN))
    whole = peer("test_resnet").state_dict()
    last = "layer4.0.bn2.running_var"
    for state, said in (
        ({name: value for name, value in whole.items() if name != last}, f"weight {last!r} is missing; use weights of"),
        ({**whole, last: torch.ones(3)}, f"weight {last!r} has shape (3,), timm/test_resnet needs (96,); use "),
        (peer("test_vit").state_dict(), "is missing; use weights of timm/test_resnet as timm "),
    ):
        with pytest.raises(InputError, match=r"^file: weight ") as caught:
            load_pretrained(trunk, dict(state), "file")
        assert said in str(caught.value) and "\n" not in str(caught.value)


def test_stage_backbone_writes_what_the_file_holds_and_the_version_of_timm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, own = peer("test_resnet").state_dict(), params("test_resnet", FPN)
    for place in ("weights", "initial_detector"):
        (tmp_path / "data" / place).mkdir(parents=True)
    save_file(state, tmp_path / "data/weights/model.safetensors")
    folder = run_stage("backbone", tmp_path, params={"backbone": own.model_dump()})
    said = capsys.readouterr().err
    assert "timm/test_resnet of timm " in said and "normalised by mean [0.5, 0.5, 0.5] and std [0.5, 0.5, 0.5]" in said
    assert "weights of model.safetensors; initialised at random: neck and head" in said
    manifest = read_manifest(folder)
    assert manifest is not None and manifest.kernels == {"timm": timm_version()}
    trunk = load_trunk(folder, own)
    assert torch.equal(trunk.pixel_mean, torch.full((3,), 0.5))
    assert all(torch.equal(value, state[name]) for name, value in trunk.layers.state_dict().items())

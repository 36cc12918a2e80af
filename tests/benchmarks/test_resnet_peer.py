"""torchvision's detector on our ResNet: the same maps of the same weights, and the same layers frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.resnet_peer import build_resnet_peer, torchvision_names, torchvision_resnet, with_fpn
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.weights import save_parts
from pipeline.building.layout import trunk_settings
from pipeline.building.trunk import new_trunk
from pipeline.geometry.backbones import RESNETS
from pipeline.nn.backbones.resnet import ResNetTrunk, initialise_stage, residual_stage
from pipeline.params.backbone import NeckParams
from pipeline.params.reading import Params
from pipeline.presets.apply import preset_params
from pipeline.runtime.errors import InputError

FPN = NeckParams(name="fpn")
WITHOUT = NeckParams()


def with_backbone(**changes: Any) -> Params:
    params = preset_params("default")
    backbone = params.backbone.model_copy(update={"name": "resnet18", "weights": "random", **changes})
    return Params({**params.sections(), "backbone": backbone}, params.family)


def random_trunk(params: Params) -> ResNetTrunk:
    """With norms that shift and scale, so that a wrong epsilon or a norm left out shows."""
    trunk = new_trunk(params.backbone)
    assert isinstance(trunk, ResNetTrunk)
    generator = torch.Generator().manual_seed(0)
    trunk.initialise(generator)
    for name, buffer in trunk.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + (0.5 if name.endswith("var") else -0.5))
    return trunk.eval()


@pytest.mark.parametrize(
    ("name", "stride_in_1x1", "epsilon"),
    [("resnet50", True, 1e-5), ("resnet50", False, 0.1), ("resnet18", False, 1e-5), ("resnet18", True, 1e-5)],
)
def test_the_peers_maps_are_ours(name: str, stride_in_1x1: bool, epsilon: float) -> None:
    # 75 by 101: sides that are odd at some level, where a stride in the wrong place moves the maps.
    params = with_backbone(name=name, stride_in_1x1=stride_in_1x1, norm_epsilon=epsilon, neck=FPN)
    trunk = random_trunk(params)
    images = torch.rand(1, 3, 75, 101, generator=torch.Generator().manual_seed(1))
    state = torchvision_names(trunk.state_dict(), {})
    peer = with_fpn(torchvision_resnet(name, state, stride_in_1x1=stride_in_1x1, epsilon=epsilon), 2).eval()
    with torch.inference_mode():
        ours, theirs = trunk.rest(trunk.frozen(images)), peer.body(images).values()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def peer_of(params: Params, data: Path, classifier: dict[str, torch.Tensor] | None = None) -> Any:
    data.joinpath("backbone").mkdir(parents=True)
    parts = {"trunk": random_trunk(params), **({"classifier": classifier} if classifier else {})}
    save_parts(data / "backbone", parts)
    write_manifest(data / "backbone", "backbone")
    return build_resnet_peer(params, data, 4)


@pytest.mark.parametrize("frozen", [0, 1, 2, 3, 5, "all"])
def test_the_same_layers_are_frozen(tmp_path: Path, frozen: int | str) -> None:
    params = with_backbone(frozen_stages=frozen, neck=FPN)
    peer = peer_of(params, tmp_path)
    ours = {
        name.removeprefix("layers.").split(".")[0]
        for name, weight in new_trunk(params.backbone).named_parameters()
        if weight.requires_grad and name.startswith("layers.")
    }
    theirs = {name.split(".")[0] for name, weight in peer.backbone.body.named_parameters() if weight.requires_grad}
    assert theirs == ours
    assert all(weight.requires_grad for weight in peer.backbone.fpn.parameters())


def test_a_c4_networks_res5_is_the_peers_layer4(tmp_path: Path) -> None:
    params = with_backbone(neck=WITHOUT)
    res5 = residual_stage(RESNETS["resnet18"], 3, trunk_settings(params.backbone))
    initialise_stage(res5, torch.Generator().manual_seed(2))
    peer = peer_of(params, tmp_path, {f"res5.{name}": value for name, value in res5.state_dict().items()})
    theirs = peer.backbone.body["layer4"].state_dict()
    assert theirs.keys() == res5.state_dict().keys()
    assert all(torch.equal(theirs[name], value) for name, value in res5.state_dict().items())


def test_weights_of_another_network_end_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are not resnet18's: layer4") as error:
        peer_of(with_backbone(neck=WITHOUT), tmp_path)
    assert "\n" not in str(error.value)
    state = torchvision_names(random_trunk(with_backbone(neck=FPN)).state_dict(), {})
    with pytest.raises(InputError, match="are not resnet50's") as error:
        torchvision_resnet("resnet50", state, stride_in_1x1=False)
    assert "\n" not in str(error.value)


def test_boxes_stay_exact_under_autocast(tmp_path: Path) -> None:
    peer = peer_of(with_backbone(neck=FPN), tmp_path).eval()
    peer.roi_heads.score_thresh = 0.0
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = peer([torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(3))])[0]
    assert len(found["boxes"]) and found["boxes"].dtype == found["scores"].dtype == torch.float32
    assert not torch.equal(found["boxes"], found["boxes"].bfloat16().float())

"""torchvision's dense detectors on the weights of our stage `backbone`: the same maps, the same layers frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.dense_peer import PEERS
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.weights import save_parts
from pipeline.building.trunk import new_trunk
from pipeline.params.reading import Params
from pipeline.presets.apply import preset_params
from pipeline.runtime.errors import InputError

PRESETS = {"retinanet": "voc6_retinanet_resnet18", "fcos": "voc6_fcos_resnet18", "ssd": "voc6_ssd300"}


def peer_of(family: str, root: Path, frozen: int | str, **resize: Any) -> tuple[Any, Any]:
    """torchvision's network and our trunk, whose weights are random."""
    params = preset_params(PRESETS[family])
    backbone = params.backbone.model_copy(update={"weights": "random", "frozen_stages": frozen})
    sections = {**params.sections(), "backbone": backbone, "resize": params.resize.model_copy(update=resize)}
    trunk = new_trunk(backbone)
    trunk.initialise(torch.Generator().manual_seed(0))
    (root / "backbone").mkdir(parents=True)
    save_parts(root / "backbone", {"trunk": trunk})
    write_manifest(root / "backbone", "backbone")
    return PEERS[family](Params(sections, family), root, 4).eval(), trunk.eval()


def trained(module: Any) -> set[str]:
    return {name for name, weight in module.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("frozen", [2, "all"])
@pytest.mark.parametrize("family", ["retinanet", "fcos"])
def test_a_resnet_has_our_weights_and_its_layers_are_frozen_as_ours(
    family: str, frozen: int | str, tmp_path: Path
) -> None:
    peer, trunk = peer_of(family, tmp_path, frozen)
    theirs = {f"layers.{name}" for name in trained(peer.backbone.body)}
    assert theirs == {name for name in trained(trunk) if name.startswith("layers.")}
    assert trained(peer.backbone.fpn) and trained(peer.head)
    images = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, own = trunk.rest(trunk.frozen(images)), list(peer.backbone.body(images).values())
    for mine, other in zip(ours[1:], own, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("frozen", [2, 5])
def test_ssd_has_our_weights_and_its_layers_are_frozen_as_ours(frozen: int, tmp_path: Path) -> None:
    peer, trunk = peer_of("ssd", tmp_path, frozen)
    state: dict[str, Tensor] = trunk.state_dict()
    own = {name.removeprefix("features."): value for name, value in peer.backbone.named_parameters()}
    assert torch.equal(own["0.weight"], state["layers.0.weight"])
    assert torch.equal(own["extra.0.1.weight"], state["layers.24.weight"])  # conv5_1
    conv5 = {f"extra.0.{place}" for place in (1, 3, 5)}
    count = sum(name.startswith("layers.") for name in trained(trunk))
    theirs = {name for name, weight in own.items() if weight.requires_grad}
    of_vgg = {name for name in theirs if name[0].isdigit() or name.rpartition(".")[0] in conv5}
    assert len(of_vgg) == count and {"scale_weight", "extra.1.0.weight"} <= theirs


def test_ssd_of_another_size_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is torchvision's SSD300; give a preset with images of 300 x 300 px"):
        peer_of("ssd", tmp_path, 2, fixed_width=512)

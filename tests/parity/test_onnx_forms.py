"""The ONNX graphs of trunks, pools and heads of every form, of random weights, detect what our networks do."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.bundle.file import Bundle
from pipeline.geometry.backbones import RESNETS, VGGShape
from pipeline.nn.backbones.build import BACKBONES
from pipeline.nn.backbones.frozen_norm import FrozenBatchNorm
from pipeline.nn.backbones.resnet import ResNetTrunk
from pipeline.nn.backbones.vgg import VGGTrunk
from pipeline.params.file import check_params
from pipeline.params.reading import Params
from tests.conftest import ROOT, apply_overlay
from tests.defaults import default_content
from tests.layouts import register_toy
from tests.parity import comparison
from tests.parity.comparison import Differences
from tests.parity.onnx_runs import compared, exported, random_bundle, textured

pytestmark = [pytest.mark.authority("onnxruntime"), pytest.mark.usefixtures("narrow")]

SMALL_VGG = VGGShape(((8,), (16,), (16, 16), (24, 24), (24, 24)), batch_norm=False)
FPN = {"name": "fpn", "channels": 24}
SMALL = {
    "resize": {"shorter_side": 96, "longer_side": 150},
    "anchors": {"scales": [1.25, 3.0]},
    "rpn": {"channels": 40},
    "roi_head": {"hidden": 48, "output_size": 5},
    "detect": {"pre_nms": 150, "proposals": 60, "per_image": 500},
}


def in_images_of_many_sizes(bundle: Bundle, folder: Path) -> Differences:
    session, total = exported(bundle, folder), Differences()
    for seed, size in enumerate([(96, 96), (96, 131), (149, 96), (81, 150), (40, 150)]):
        found = compared(bundle, session, textured(*size, seed))
        assert found.pairs > 20
        total.add(found)
    for seed, size in enumerate([(3, 120), (120, 3), (1, 1)]):  # thinner than a stride
        found = compared(bundle, session, textured(*size, seed))
        assert found.pairs > 0
        total.add(found)
    return total


@pytest.mark.long
@pytest.mark.parametrize("pool", ["roi_pool", "roi_align"])
@pytest.mark.parametrize("ceil_pool", [True, False])
def test_random_weights_of_vggs_form_detect_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pool: str, ceil_pool: bool
) -> None:
    monkeypatch.setitem(BACKBONES, "vgg16", partial(VGGTrunk, SMALL_VGG))
    network = {"name": "vgg16", "weights": "random", "ceil_pool": ceil_pool}
    params = comparison.params_of(SMALL, {"backbone": network, "roi_head": {"pool": pool}})
    bundle = random_bundle(params, 4, seed=0)
    total = in_images_of_many_sizes(bundle, tmp_path)
    assert not total.unpaired


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "backbone", "others"),
    [
        ("resnet18", {}, {"roi_head": {"kind": "res5", "output_size": 4}}),
        (
            "resnet18",
            {"size_divisible": 32, "neck": FPN},
            {"anchors": {"placement": "torchvision"}},
        ),
        (
            "resnet50",
            {"size_divisible": 32, "neck": FPN | {"norm": "batch"}, "stride_in_1x1": True},
            {"anchors": {"placement": "torchvision"}, "rpn": {"depth": 2}, "roi_head": {"kind": "convs"}},
        ),
        ("resnet50", {}, {"roi_head": {"kind": "res5", "output_size": 4}}),
        ("resnet18", {"neck": FPN}, {"detect": {"cut_first": True}}),
        ("resnet18", {"neck": FPN | {"name": "fpn_p3_p7"}}, {}),
    ],
    ids=["c4", "fpn", "fpn_convs", "c4_of_bottlenecks", "fpn_of_any_size", "p3_to_p7"],
)
def test_random_weights_of_a_resnet_detect_the_same(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    backbone: dict[str, Any],
    others: dict[str, Any],
) -> None:
    # One block a stage: export takes longer the more nodes a graph has, and a stage's further blocks bring nothing new.
    shape = replace(RESNETS[name], blocks=(1, 1, 1, 1))
    monkeypatch.setitem(RESNETS, name, shape)
    monkeypatch.setitem(BACKBONES, name, partial(ResNetTrunk, shape))
    aligned = {"backbone": {"name": name, "weights": "random", **backbone}, "roi_head": {"pool": "roi_align"}}
    bundle = random_bundle(comparison.params_of(SMALL, aligned, others), 4, seed=0)
    for norm in norms_of(bundle):  # so that a norm left out would be seen
        draw = torch.Generator().manual_seed(1)
        norm.running_var.uniform_(0.7, 1.4, generator=draw)
        norm.running_mean.normal_(std=0.1, generator=draw)
    total = in_images_of_many_sizes(bundle, tmp_path)
    print(f"{total.pairs} pairs, scores to {total.score:.1e}, boxes to {total.box:.1e} px")
    assert not total.unpaired


def norms_of(bundle: Bundle) -> list[FrozenBatchNorm]:
    return [own for part in bundle.parts.values() for own in part.modules() if isinstance(own, FrozenBatchNorm)]


@pytest.mark.long
@pytest.mark.parametrize("pool", ["roi_pool", "roi_align"])
def test_vgg16_of_random_weights_detects_the_same(tmp_path: Path, pool: str) -> None:
    content = default_content()
    apply_overlay(content, yaml.safe_load((ROOT / "pipeline/presets/voc6_vgg16.yaml").read_text()))
    apply_overlay(content, {"roi_head": {"pool": pool}})
    bundle = random_bundle(Params(check_params(content, "test")), 7, seed=0)
    session, total = exported(bundle, tmp_path), Differences()
    for seed, size in enumerate([(224, 224), (224, 301), (333, 250)]):
        found = compared(bundle, session, textured(*size, seed), (1.3, 1.2))
        assert found.pairs > 20
        total.add(found)
    print(f"VGG16, {pool}: {total.pairs} pairs, scores to {total.score:.1e}, boxes to {total.box:.1e} px")
    assert not total.unpaired


@pytest.mark.parametrize(
    ("cut_first", "roi_head"),
    [
        (True, {"pool": "roi_align", "samples": 0, "aligned": False, "class_agnostic": True}),
        pytest.param(False, {}, marks=pytest.mark.long),
        pytest.param(False, {"pool": "roi_align", "samples": 0, "aligned": True}, marks=pytest.mark.long),
        pytest.param(True, {"pool": "roi_align", "samples": 2, "aligned": False}, marks=pytest.mark.long),
        pytest.param(True, {"kind": "convs", "pool": "roi_align"}, marks=pytest.mark.long),
    ],
)
def test_a_trunk_of_three_levels_detects_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cut_first: bool, roi_head: dict[str, Any]
) -> None:
    register_toy(monkeypatch)
    changed = {"resize": {"shorter_side": 150, "longer_side": 400}, "detect": {"cut_first": cut_first}}
    placement = "torchvision" if cut_first else "centred"
    changed |= {"rpn": {"depth": 2}, "roi_head": roi_head, "anchors": {"placement": placement}}
    params = comparison.params_of(SMALL, changed, {"backbone": {"name": "tiny", "weights": "random"}})
    bundle = random_bundle(params, 4, seed=0)
    session, total = exported(bundle, tmp_path), Differences()
    for seed, size in enumerate([(150, 200), (331, 150), (20, 150), (1, 1)]):
        total.add(compared(bundle, session, textured(*size, seed)))
    assert total.pairs > 60
    assert not total.unpaired

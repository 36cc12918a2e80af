"""Whole detectors of torchvision with their weights in our network: the same proposals and detections in the same
resized pixels under the same padding, and the same state dict again when exported."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN

from benchmarks.torchvision_pairs import AS_TORCHVISION, V2, Pairs, found_by_ours, found_by_theirs, pair, parts_of
from pipeline.building.trunk import new_trunk
from pipeline.families.faster_rcnn.exported.torchvision_model import torchvision_state
from pipeline.params.reading import Params
from tests.parity.comparison import detect_with_ours, detect_with_theirs, differences, exported, ours, params_of
from tests.parity.comparison import random_parts as random_parts_of
from tests.parity.test_export import textured
from tests.torchvision_models import HIDDEN, small_torchvision

pytestmark = pytest.mark.authority("torchvision")

SIZES = [(160, 192), (192, 128), (96, 192)]


def params_for(form: str, name: str = "resnet18", hidden: int = HIDDEN, **overlay: Any) -> Params:
    own = [AS_TORCHVISION, {"backbone": {"name": name}, "roi_head": {"hidden": hidden}}]
    return params_of(*own, *([V2] if form == "v2" else []), overlay)


FEW: dict[str, Any] = {
    "resize": {"shorter_side": 160, "longer_side": 192},
    "detect": {"pre_nms": 300, "proposals": 80},
}


@pytest.fixture(scope="module", params=["v1", "v2"])
def small(request: pytest.FixtureRequest) -> tuple[TorchvisionFasterRCNN, Params]:
    limits = {"rpn_pre_nms_top_n_test": 300, "rpn_post_nms_top_n_test": 80}
    return small_torchvision(request.param, **limits), params_for(request.param, **FEW)


def returned(state: dict[str, Tensor], params: Params) -> dict[str, Tensor]:
    """A state dict through our network and out of the export."""
    return torchvision_state(*parts_of(state, params))


def test_a_state_dict_comes_back_through_the_export_unchanged(small: tuple[TorchvisionFasterRCNN, Params]) -> None:
    model, params = small
    state = dict(model.state_dict())
    back = returned(state, params)
    assert back.keys() == state.keys()
    for name, value in state.items():
        assert back[name].dtype == value.dtype and back[name].numpy().tobytes() == value.numpy().tobytes(), name


@pytest.mark.long
@pytest.mark.parametrize("form", ["v1", "v2"])
def test_so_does_that_of_resnet50(form: str) -> None:
    state = dict(small_torchvision(form, 91, name="resnet50", hidden=1024).state_dict())
    back = returned(state, params_for(form, "resnet50", 1024))
    assert back.keys() == state.keys() and all(torch.equal(back[name], value) for name, value in state.items())


def test_proposals_and_detections_are_torchvisions(small: tuple[TorchvisionFasterRCNN, Params]) -> None:
    model, params = small
    parts = parts_of(model.state_dict(), params)
    rule, proposals, detections = params.detect, Pairs(), Pairs()
    for seed, size in enumerate(SIZES):
        pixels = textured(*size, seed)
        own, theirs = found_by_ours(parts, params, pixels), found_by_theirs(model, pixels)
        proposals.add(pair(own[0], theirs[0], floor=0.0, nms_iou=rule.proposal_nms_iou, most=rule.proposals))
        limits = {"floor": rule.score_threshold, "nms_iou": rule.nms_iou, "most": rule.per_image}
        detections.add(pair(own[1], theirs[1], **limits))
    assert not proposals.unpaired and not detections.unpaired
    assert proposals.count > 200 and detections.count > 40


def test_the_exported_network_detects_the_same_and_its_weights_fit_torchvisions(
    small: tuple[TorchvisionFasterRCNN, Params],
) -> None:
    model, params = small
    parts = parts_of(model.state_dict(), params)
    network, out = ours(parts, params), exported(parts, params)
    model.load_state_dict(torchvision_state(*parts))
    for seed, size in enumerate([(160, 192), (20, 192)]):  # the second thinner than the last level's stride
        pixels = textured(*size, seed)
        found = differences(detect_with_ours(network, pixels), detect_with_theirs(out, pixels))
        assert not found.unpaired and found.pairs > 5


@pytest.mark.parametrize(
    ("backbone", "anchors", "head"),
    [
        ({"name": "resnet18", "stride_in_1x1": True}, {}, {"kind": "res5", "output_size": 6}),
        ({"name": "resnet18", "neck": {"name": "fpn", "channels": 32}}, {"placement": "detectron2"}, {"hidden": 32}),
    ],
)
def test_c4_and_an_fpn_of_our_own_detect_the_same_when_exported(
    backbone: dict[str, Any], anchors: dict[str, Any], head: dict[str, Any]
) -> None:
    overlay = {"backbone": {"weights": "random", **backbone}, "anchors": {"scales": [1.25, 3.0], **anchors}}
    small_heads = {"rpn": {"channels": 40}, "roi_head": {"pool": "roi_align", **head}}
    detect = {"detect": {"pre_nms": 150, "proposals": 60, "cut_first": True}}
    params = params_of({"resize": {"shorter_side": 96, "longer_side": 150}}, overlay, small_heads, detect)
    trunk = new_trunk(params.backbone)
    trunk.initialise(torch.Generator().manual_seed(0))
    if trunk.neck:
        trunk.neck.initialise(torch.Generator().manual_seed(1))
    parts = random_parts_of(trunk, params, 4, 0)
    network, out = ours(parts, params), exported(parts, params)
    assert any(name.startswith("backbone.body.layer3.") for name in out.state_dict())
    for seed, size in enumerate([(96, 131), (9, 150)]):
        pixels = textured(*size, seed)
        found = differences(detect_with_ours(network, pixels), detect_with_theirs(out, pixels))
        assert not found.unpaired and found.pairs > 5

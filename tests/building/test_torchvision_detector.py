"""A state dict of torchvision's Faster R-CNN as the detector that training starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pipeline.artifacts.classes import read_detector_classes
from pipeline.artifacts.weights import load_part
from pipeline.building.torchvision_detector import from_torchvision, needs_of
from pipeline.datasets.coco_numbers import COCO_NAMES
from pipeline.runtime.errors import InputError
from tests.in_process import run_stage
from tests.torchvision_models import HIDDEN, small_torchvision, with_first_names

pytestmark = pytest.mark.authority("torchvision")

V1: dict[str, Any] = {"name": "resnet18", "weights": "random", "size_divisible": 32, "neck": {"name": "fpn"}}
V2: dict[str, Any] = {**V1, "neck": {"name": "fpn", "norm": "batch"}}


def backbone_of(tmp_path: Path, state: dict[str, Tensor], backbone: dict[str, Any], **init: Any) -> Path:
    """What stage `backbone` writes with a detector of these weights in a .pth file."""
    folder = tmp_path / "initial_detector"
    folder.mkdir()
    torch.save(state, folder / "detector.pth")
    params = {"backbone": backbone, "init": {"detector": "file", **init}}
    return run_stage("backbone", tmp_path, tmp_path / "out", params, detector=folder)


@pytest.fixture(scope="module")
def v1() -> dict[str, Tensor]:
    return dict(small_torchvision("v1").state_dict())


@pytest.fixture(scope="module")
def v2() -> dict[str, Tensor]:
    return dict(small_torchvision("v2").state_dict())


def on_mobilenet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the backbone's layers named as in `fasterrcnn_mobilenet_v3_large_fpn`."""
    return {name.replace("backbone.body.layer", "backbone.body."): value for name, value in state.items()}


@pytest.mark.parametrize("first_names", [False, True])
def test_all_parts_of_v1_come_in_from_new_and_old_names(
    tmp_path: Path, v1: dict[str, Tensor], first_names: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    state = with_first_names(v1) if first_names else v1
    assert ("rpn.head.conv.weight" in state) == ("backbone.fpn.inner_blocks.0.weight" in state) == first_names
    state = {**state, "backbone.body.bn1.num_batches_tracked": torch.tensor(7)}
    out = backbone_of(tmp_path, state, V1, classes=["a", "b", "c"])
    trunk, rpn, head = (load_part(out, part) for part in ("trunk", "rpn", "head"))
    assert torch.equal(trunk["layers.layer3.1.bn2.running_var"], v1["backbone.body.layer3.1.bn2.running_var"])
    assert torch.equal(trunk["neck.layer_blocks.3.0.bias"], v1["backbone.fpn.layer_blocks.3.0.bias"])
    assert torch.equal(rpn["conv.weight"], v1["rpn.head.conv.0.0.weight"])
    assert torch.equal(rpn["cls_score.bias"], torch.cat([torch.zeros(3), v1["rpn.head.cls_logits.bias"]]))
    assert torch.equal(head["fc7.weight"], v1["roi_heads.box_head.fc7.weight"])
    assert torch.equal(head["bbox_pred.weight"], v1["roi_heads.box_predictor.bbox_pred.weight"])
    torch.testing.assert_close(head["delta_std"], torch.tensor([0.1, 0.1, 0.2, 0.2]).repeat(4, 1), rtol=0, atol=0)
    assert not head["delta_mean"].any()
    classifier = load_part(out, "classifier")
    assert {f"{layer}.{kind}" for layer in ("fc6", "fc7") for kind in ("weight", "bias")} == set(classifier)
    assert all(torch.equal(value, head[name]) for name, value in classifier.items())
    assert read_detector_classes(out) == ["background", "a", "b", "c"]
    said = capsys.readouterr().err
    assert "trunk, RPN and RoI head of detector.pth, a torchvision FasterRCNN on resnet18" in said
    assert f"rpn.depth 1, rpn.channels 256, roi_head.kind fc, roi_head.hidden {HIDDEN} and 3 anchors" in said


def test_v2_brings_norms_and_convolutions(tmp_path: Path, v2: dict[str, Tensor]) -> None:
    out = backbone_of(tmp_path, v2, V2)
    trunk, rpn, classifier = (load_part(out, part) for part in ("trunk", "rpn", "classifier"))
    assert torch.equal(trunk["neck.inner_blocks.2.1.running_mean"], v2["backbone.fpn.inner_blocks.2.1.running_mean"])
    assert torch.equal(rpn["more.0.bias"], v2["rpn.head.conv.1.0.bias"])
    assert torch.equal(classifier["convs.3.0.weight"], v2["roi_heads.box_head.3.0.weight"])
    assert torch.equal(classifier["convs.3.1.running_var"], v2["roi_heads.box_head.3.1.running_var"])
    assert torch.equal(classifier["fc6.weight"], v2["roi_heads.box_head.5.weight"])
    # Nothing says what its three classes are.
    assert read_detector_classes(out) is None and not load_part(out, "head", optional=True)


def test_91_rows_are_the_categories_of_coco(tmp_path: Path) -> None:
    out = backbone_of(tmp_path, dict(small_torchvision("v1", classes=91).state_dict()), V1)
    names = read_detector_classes(out)
    assert names == list(COCO_NAMES) and (names[1], names[5], names[17], names[90]) == (
        "person",
        "airplane",
        "cat",
        "toothbrush",
    )
    assert len(load_part(out, "head")["cls_score.bias"]) == 91


def test_the_published_forms_are_recognised(v1: dict[str, Tensor], v2: dict[str, Tensor]) -> None:
    """By the shapes of ResNet-50's blocks, which torchvision's builders give without making tensors."""
    from torchvision.models.detection import fasterrcnn_resnet50_fpn, fasterrcnn_resnet50_fpn_v2

    for build, title in ((fasterrcnn_resnet50_fpn, "fpn"), (fasterrcnn_resnet50_fpn_v2, "fpn_v2")):
        with torch.device("meta"):
            state = build(weights=None, weights_backbone=None).state_dict()
        ours = {name: value.new_empty(value.shape, device="meta") for name, value in _renamed(dict(state)).items()}
        assert needs_of(ours).title == f"torchvision's fasterrcnn_resnet50_{title}"


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return from_torchvision(state, "test")


@pytest.mark.parametrize(
    ("form", "changes", "told"),
    [
        ("v1", {"neck": {"name": "none"}}, "set backbone.neck.name fpn"),
        ("v1", {"name": "resnet34"}, "a torchvision FasterRCNN on resnet18: set backbone.name resnet18;"),
        ("v1", {"neck": {"name": "fpn", "channels": 128}}, "set backbone.neck.channels 256"),
        ("v2", {}, "set backbone.neck.norm batch; its heads need rpn.depth 2, rpn.channels 256, roi_head.kind convs"),
    ],
)
def test_parameters_of_another_network_are_named_in_one_line(
    tmp_path: Path, request: pytest.FixtureRequest, form: str, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as error:
        backbone_of(tmp_path, request.getfixturevalue(form), {**V1, **changes})
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "classes", "told"),
    [
        (lambda state: {**state, "roi_heads.mask_head.0.weight": torch.zeros(1)}, None, "mask_head.0.weight' has no"),
        (lambda state: {**state, "backbone.body.fc.weight": torch.zeros(1)}, None, "'layers.fc.weight' is not part of"),
        (lambda state: {k: v for k, v in state.items() if "cls_score" not in k}, None, "cls_score.weight' is missing"),
        (lambda state: {k: v for k, v in state.items() if "bbox_pred" not in k}, None, "bbox_pred.weight' is missing"),
        (lambda state: {k: v for k, v in state.items() if "layer2.1.bn1.bias" not in k}, None, "is missing"),
        (
            lambda state: on_mobilenet(state),
            None,
            "detector.pth: its backbone is none of vgg16, resnet18, resnet34, resnet50, ",
        ),
        (lambda state: state, ["a", "b"], "init.classes: names 2 classes, detector.pth has 3 beside the background"),
    ],
)
def test_what_is_no_whole_detector_ends_in_one_line(
    tmp_path: Path, v1: dict[str, Tensor], change: Any, classes: list[str] | None, told: str
) -> None:
    with pytest.raises(InputError) as error:
        backbone_of(tmp_path, change(v1), V1, classes=classes)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_the_bundle_json_beside_the_weights_says_the_classes(tmp_path: Path, v1: dict[str, Tensor]) -> None:
    folder = tmp_path / "initial_detector"
    folder.mkdir()
    save_file(from_torchvision(v1, "test"), folder / "model.safetensors")
    params = {"backbone": V1, "init": {"detector": "file"}}
    (folder / "bundle.json").write_text(json.dumps({"classes": ["background", "x", "y", "z"]}))
    out = run_stage("backbone", tmp_path, tmp_path / "out", params, detector=folder)
    assert read_detector_classes(out) == ["background", "x", "y", "z"]
    (folder / "bundle.json").write_text(json.dumps({"classes": ["background", "x"]}))
    with pytest.raises(InputError, match=r"names 2 classes, the weights have 4\); link the whole bundle"):
        run_stage("backbone", tmp_path, tmp_path / "again", params, detector=folder)

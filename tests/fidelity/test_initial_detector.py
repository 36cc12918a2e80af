"""A run that starts from a trained detector: trunk, RPN, fc6 and fc7 are its, the class layers are drawn afresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.artifacts.weights import load_part
from pipeline.runtime.errors import InputError
from tests.conftest import Project
from tests.fidelity.conftest import RunByHand, barely_trained, same_start, weights_of
from tests.fidelity.test_four_steps import OUTPUT_LAYERS, is_drawn, of_layers

pytestmark = pytest.mark.authority("torchvision's fine-tuning tutorial: all is kept but the box predictor")

FROM_DETECTOR = {"init": {"detector": "file"}}


@pytest.fixture
def detector(tiny_run: Project, tmp_path: Path) -> Path:
    """A linked folder with the jointly trained network of the tiny run."""
    folder = tmp_path / "initial_detector"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(tiny_run.data / "finetune_joint/model.safetensors")
    return folder


@pytest.fixture
def backbone(by_hand: RunByHand, detector: Path) -> Path:
    return by_hand("backbone", FROM_DETECTOR, detector=detector)


def test_the_backbone_stage_takes_trunk_rpn_and_fcs_and_leaves_the_class_layers(
    tiny_run: Project, backbone: Path
) -> None:
    trained = tiny_run.data / "finetune_joint"
    for part in ("trunk", "rpn"):
        ours, theirs = load_part(backbone, part), load_part(trained, part)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    classifier, head = load_part(backbone, "classifier"), load_part(trained, "head")
    assert set(classifier) == {"fc6.weight", "fc6.bias", "fc7.weight", "fc7.bias"}
    assert all(torch.equal(value, head[name]) for name, value in classifier.items())


@pytest.mark.parametrize(
    ("stage", "part", "params"),
    [
        ("train_rpn_step1", "trunk", {}),
        ("train_rpn_step1", "rpn", {}),
        ("train_head_step2", "trunk", {}),
        ("train_rpn_step3", "rpn", {"init": "fresh"}),
        ("finetune_joint", "trunk", {"init": "imagenet"}),
        ("finetune_joint", "rpn", {"init": "imagenet"}),
    ],
)
def test_what_would_start_fresh_or_from_imagenet_starts_from_the_detector(
    tiny_run: Project, by_hand: RunByHand, backbone: Path, stage: str, part: str, params: dict[str, Any]
) -> None:
    trained = weights_of(tiny_run.data / "finetune_joint", part)
    assert not same_start(weights_of(by_hand(stage, barely_trained(stage, **params)), part), trained)
    started = weights_of(by_hand(stage, barely_trained(stage, **params), backbone=backbone), part)
    assert same_start(started, trained)


def test_the_head_takes_fc6_and_fc7_and_draws_its_class_layers(
    tiny_run: Project, by_hand: RunByHand, backbone: Path
) -> None:
    head = weights_of(by_hand("train_head_step2", barely_trained("train_head_step2"), backbone=backbone), "head")
    trained = weights_of(tiny_run.data / "finetune_joint", "head")
    assert same_start(of_layers(head, "fc6", "fc7"), of_layers(trained, "fc6", "fc7"))
    assert all(is_drawn(head, layer, std) for layer, std in OUTPUT_LAYERS.items())


def test_an_rpn_of_other_anchors_takes_the_convolution_and_draws_its_outputs(
    tiny_run: Project, by_hand: RunByHand, backbone: Path
) -> None:
    anchors = {"anchors": {"scales": [2.0, 4.0, 8.0]}}
    targets = by_hand("anchor_targets", anchors)
    params = {**barely_trained("train_rpn_step1"), **anchors}
    rpn = weights_of(by_hand("train_rpn_step1", params, backbone=backbone, anchor_targets=targets), "rpn")
    trained = weights_of(tiny_run.data / "finetune_joint", "rpn")
    assert same_start(of_layers(rpn, "conv"), of_layers(trained, "conv"))
    assert all(is_drawn(rpn, layer, 0.01) for layer in ("cls_score", "bbox_pred"))
    assert len(rpn["bbox_pred.bias"]) == 4 * 3 * 3


def test_a_head_of_another_width_is_drawn(by_hand: RunByHand, backbone: Path) -> None:
    params = {**barely_trained("train_head_step2"), "roi_head": {"hidden": 48}}
    head = weights_of(by_hand("train_head_step2", params, backbone=backbone), "head")
    assert is_drawn(head, "fc7", (2 / 48) ** 0.5)


def without_head(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if not name.startswith("head.")}


def of_another_trunk(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    name = next(name for name in state if name.startswith("trunk.") and state[name].dim() == 4)
    return {**state, name: torch.zeros(1, 2, 3, 3)}


def without_rpn(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if not name.startswith("rpn.")}


def dense(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The trunk with a head as a dense detector has it."""
    trunk = {name: value for name, value in state.items() if name.startswith("trunk.")}
    return {**trunk, "head.shared.weight": torch.zeros(4, 4, 3, 3), "head.classes.bias": torch.zeros(2)}


def like_ssd(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same, with convolutions that have the names of a RoI head's layers."""
    layers = {f"head.{name}.weight": torch.zeros(4, 4, 3, 3) for name in ("fc6", "fc7")}
    return {**dense(state), **layers}


@pytest.mark.parametrize("head", [dense, like_ssd])
def test_a_detector_of_another_family_gives_a_roi_head_nothing(
    tiny_run: Project, by_hand: RunByHand, tmp_path: Path, head: Any
) -> None:
    folder = tmp_path / "dense"
    folder.mkdir()
    state = load_file(tiny_run.data / "finetune_joint/model.safetensors")
    given = head(state)
    save_file(given, folder / "model.safetensors")
    taken = load_file(by_hand("backbone", FROM_DETECTOR, detector=folder) / "model.safetensors")
    # Trunk and head are there for a dense family; RoI heads start from the part `classifier`.
    assert taken.keys() == given.keys()
    assert all(torch.equal(value, given[name]) for name, value in taken.items())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without_rpn, "model.safetensors: holds no weights of the rpn; give init.detector=PATH"),
        (lambda state: of_another_trunk(dense(state)), "has shape (1, 2, 3, 3), the configured network needs"),
        (without_head, "model.safetensors: holds no weights of the head; give init.detector=PATH"),
        (of_another_trunk, "has shape (1, 2, 3, 3), the configured network needs"),
        (None, "holds 0 files where one weights file is needed; give init.detector=PATH to frcnn preset"),
        ("text", "not a readable weights file"),
    ],
)
def test_what_is_no_detector_of_this_trunk_ends_in_one_line(
    tiny_run: Project, by_hand: RunByHand, tmp_path: Path, change: Any, expected: str
) -> None:
    folder = tmp_path / "wrong"
    folder.mkdir()
    if change == "text":
        (folder / "model.safetensors").write_text("no weights")
    elif change is not None:
        state = load_file(tiny_run.data / "finetune_joint/model.safetensors")
        save_file(change(state), folder / "model.safetensors")
    with pytest.raises(InputError) as error:
        by_hand("backbone", FROM_DETECTOR, detector=folder)
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_a_detector_of_other_classes_teaches_a_head_of_as_many_as_the_data_has(
    tiny_run: Project, by_hand: RunByHand, detector: Path, tmp_path: Path
) -> None:
    state = load_file(detector / "model.safetensors")
    more = {
        name: value.repeat_interleave(2, dim=0) if name.startswith(("head.cls", "head.bbox", "head.delta")) else value
        for name, value in state.items()
    }
    folder = tmp_path / "more_classes"
    folder.mkdir()
    save_file(more, folder / "model.safetensors")
    backbone = by_hand("backbone", FROM_DETECTOR, detector=folder)
    head = load_part(by_hand("train_head_step2", barely_trained("train_head_step2"), backbone=backbone), "head")
    classes = len(load_part(tiny_run.data / "finetune_joint", "head")["cls_score.bias"])
    assert len(head["cls_score.bias"]) == classes and len(more["head.cls_score.bias"]) == 2 * classes
    np.testing.assert_array_equal(head["delta_std"].shape, (classes, 4))

"""The four steps start where the paper says, each proven by a run whose learning rate vanishes.

Authority of all: Faster R-CNN, section 3.2, "4-Step Alternating Training"; initial weights as in py-faster-rcnn's
train_faster_rcnn_alt_opt.py and its prototxts, or as another reference code has them where a parameter says so.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.maps import FeatureMaps
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.weights import State, load_part, save_parts
from pipeline.building.trunk import load_trunk
from pipeline.families.faster_rcnn.building.roi_head import load_head
from pipeline.feeding.maps import maps_of
from pipeline.feeding.views import ImageViews
from pipeline.params.file import load_params
from tests.conftest import Project
from tests.fidelity.conftest import RunByHand, barely_trained, same_start, weights_of
from tests.in_process import command_of
from tests.layouts import one_level

pytestmark = pytest.mark.authority("the paper's four steps")


def of_layers(state: State, *layers: str) -> State:
    return {name: value for name, value in state.items() if name.split(".")[0] in layers}


def is_drawn(state: State, layer: str, std: float) -> bool:
    """Whether a layer's weights are normal of this deviation, and its biases 0."""
    weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
    near = abs(float(weight.std()) / std - 1) < 4 / np.sqrt(2 * weight.numel())
    return near and abs(float(weight.mean())) < 4 * std / np.sqrt(weight.numel()) and bool((bias.abs() < 1e-15).all())


RPN_LAYERS = {"conv": 0.01, "cls_score": 0.01, "bbox_pred": 0.01}
OUTPUT_LAYERS = {"cls_score": 0.01, "bbox_pred": 0.001}


@pytest.mark.parametrize("stage", ["train_rpn_step1", "train_head_step2"])
def test_steps_1_and_2_each_start_from_the_pre_trained_trunk(tiny_run: Project, by_hand: RunByHand, stage: str) -> None:
    pretrained = weights_of(tiny_run.data / "backbone", "trunk")
    started = weights_of(by_hand(stage, barely_trained(stage)), "trunk")
    assert same_start(started, pretrained)
    for trained in ("train_rpn_step1", "train_head_step2"):
        assert not same_start(started, weights_of(tiny_run.data / trained, "trunk"))


def test_nothing_of_step_1_but_its_proposals_reaches_step_2(tiny_run: Project) -> None:
    stages = yaml.safe_load((tiny_run.root / "dvc.yaml").read_text())["stages"]

    def readers(folder: str) -> set[str]:
        return {name for name, stage in stages.items() if folder in stage.get("deps", ())}

    assert readers("data/train_rpn_step1") == {"proposals_step1", "train_rpn_step3", "detect_step2"}
    assert readers("data/proposals_step1") == {"proposal_targets_step2"}
    assert "train_head_step2" in readers("data/proposal_targets_step2") & readers("data/backbone")


def test_step_1_draws_its_rpn_and_step_2_its_outputs_and_fcs_that_no_classifier_brings(by_hand: RunByHand) -> None:
    rpn = weights_of(by_hand("train_rpn_step1", barely_trained("train_rpn_step1")), "rpn")
    assert all(is_drawn(rpn, layer, std) for layer, std in RPN_LAYERS.items())
    head = weights_of(by_hand("train_head_step2", barely_trained("train_head_step2")), "head")
    assert all(is_drawn(head, layer, std) for layer, std in OUTPUT_LAYERS.items())
    assert is_drawn(head, "fc7", (2 / head["fc7.weight"].shape[1]) ** 0.5)


@pytest.mark.parametrize("init", ["fresh", "step1"])
def test_step_3_starts_from_a_fresh_rpn_or_from_step_1s(tiny_run: Project, by_hand: RunByHand, init: str) -> None:
    """Fresh in py-faster-rcnn, step 1's in others."""
    started = weights_of(by_hand("train_rpn_step3", barely_trained("train_rpn_step3", init=init)), "rpn")
    of_step1 = weights_of(tiny_run.data / "train_rpn_step1", "rpn")
    assert same_start(started, of_step1) == (init == "step1")
    assert all(is_drawn(started, layer, std) for layer, std in RPN_LAYERS.items()) == (init == "fresh")
    drawn_in_step1 = weights_of(by_hand("train_rpn_step1", barely_trained("train_rpn_step1")), "rpn")
    assert not same_start(started, drawn_in_step1)


@pytest.mark.parametrize("init", ["fresh", "step2"])
def test_step_4_starts_from_step_2s_fc6_and_fc7_and_from_fresh_outputs_or_step_2s(
    tiny_run: Project, by_hand: RunByHand, init: str
) -> None:
    """Fresh cls_score and bbox_pred in py-faster-rcnn, step 2's in the MATLAB original, CNTK and mx-rcnn."""
    started = weights_of(by_hand("train_head_step4", barely_trained("train_head_step4", init=init)), "head")
    of_step2 = weights_of(tiny_run.data / "train_head_step2", "head")
    assert same_start(of_layers(started, "fc6", "fc7"), of_layers(of_step2, "fc6", "fc7"))
    for layer, std in OUTPUT_LAYERS.items():
        assert same_start(of_layers(started, layer), of_layers(of_step2, layer)) == (init == "step2")
        if init == "fresh":
            assert is_drawn(started, layer, std)


@pytest.mark.parametrize("init", ["step4", "imagenet"])
def test_joint_training_starts_from_the_four_steps_network_or_from_the_pre_trained_trunk_and_fresh_heads(
    tiny_run: Project, by_hand: RunByHand, init: str
) -> None:
    """From ImageNet in py-faster-rcnn's end-to-end training; after step 4 here by default."""
    out = by_hand("finetune_joint", barely_trained("finetune_joint", init=init))
    sources = {"trunk": "train_head_step2", "rpn": "train_rpn_step3", "head": "train_head_step4"}
    for part, source in sources.items():
        assert same_start(weights_of(out, part), weights_of(tiny_run.data / source, part)) == (init == "step4")
    if init == "imagenet":
        assert same_start(weights_of(out, "trunk"), weights_of(tiny_run.data / "backbone", "trunk"))
        rpn, head = weights_of(out, "rpn"), weights_of(out, "head")
        assert all(is_drawn(rpn, layer, std) for layer, std in RPN_LAYERS.items())
        assert all(is_drawn(head, layer, std) for layer, std in OUTPUT_LAYERS.items())
        assert not same_start(head, weights_of(tiny_run.data / "train_head_step2", "head"))


@pytest.mark.parametrize(("stage", "changes"), [("train_head_step2", {}), ("finetune_joint", {"init": "imagenet"})])
def test_fc6_and_fc7_start_from_the_pre_trained_classifiers_where_there_is_one(
    tiny_run: Project, by_hand: RunByHand, tmp_path: Path, stage: str, changes: dict[str, Any]
) -> None:
    """Fast R-CNN, section 2.3: the ImageNet network's last fully connected layer alone is replaced."""
    shapes = of_layers(weights_of(tiny_run.data / "train_head_step2", "head"), "fc6", "fc7")
    classifier = {name: torch.full_like(value, 0.001 * i) for i, (name, value) in enumerate(shapes.items(), 1)}
    backbone = tmp_path / "with_classifier"
    backbone.mkdir()
    save_parts(backbone, {"trunk": load_part(tiny_run.data / "backbone", "trunk"), "classifier": classifier})
    write_manifest(backbone, "backbone")
    head = weights_of(by_hand(stage, barely_trained(stage, **changes), backbone=backbone), "head")
    assert same_start(of_layers(head, "fc6", "fc7"), classifier)
    assert all(is_drawn(head, layer, std) for layer, std in OUTPUT_LAYERS.items())


def test_the_network_of_step_4_has_step_2s_trunk_step_3s_rpn_and_step_4s_head(tiny_run: Project) -> None:
    """And step 2's, which shares nothing, proposes with step 1's."""
    folders = {name: command_of(tiny_run.root, name)[1] for name in ("detect_step2", "detect_step4", "features")}
    wanted = {"trunk": "data/train_head_step2", "rpn": "data/train_rpn_step3", "head": "data/train_head_step4"}
    assert {option: folders["detect_step4"].get(option) for option in (*wanted, "rpn_trunk")} == {
        **wanted,
        "rpn_trunk": None,
    }
    assert folders["features"]["trunk"] == "data/train_head_step2"
    assert {folders["detect_step2"][option] for option in ("trunk", "head")} == {"data/train_head_step2"}
    assert {folders["detect_step2"][option] for option in ("rpn", "rpn_trunk")} == {"data/train_rpn_step1"}
    lock = tiny_run.lock()
    (written,) = (out["md5"] for out in lock["train_head_step2"]["outs"])
    for reader in ("features", "train_head_step4", "detect_step4", "finetune_joint"):
        assert {dep["md5"] for dep in lock[reader]["deps"] if dep["path"] == "data/train_head_step2"} == {written}


def test_steps_3_and_4_learn_from_the_maps_of_step_2s_trunk_which_no_later_stage_changes(
    tiny_run: Project, by_hand: RunByHand
) -> None:
    """In float32, where the stored maps are the trunk's to the last bit."""
    folder = by_hand("features", {"base": {"precision": "float32"}, "features": {"dtype": "float32"}})
    maps, views = FeatureMaps(folder), ImageViews(ResizedImages(tiny_run.data / "resize", "train"))
    backbone = load_params(tiny_run.root / "params.yaml").backbone
    trunks = {
        stage: load_trunk(tiny_run.data / stage, backbone)
        for stage in ("train_head_step2", "train_rpn_step1", "backbone", "finetune_joint")
    }
    entries = sorted(maps)
    assert [entry.mirrored for entry in entries] == [False, True] * 12
    with torch.inference_mode():
        for plain, mirrored in zip(entries[:6:2], entries[1:6:2], strict=True):
            made = {stage: maps_of(trunk, views.load([plain, mirrored]))[0].numpy() for stage, trunk in trunks.items()}
            for i, entry in enumerate((plain, mirrored)):
                equal = {stage for stage, own in made.items() if np.allclose(own[i], maps[entry][0], atol=1e-6)}
                assert equal == {"train_head_step2"}


@pytest.mark.parametrize("init", ["fresh", "step2"])
def test_a_head_takes_over_the_measured_normalisation_of_the_targets_that_it_learns(
    tiny_run: Project, by_hand: RunByHand, init: str
) -> None:
    """Step 2's outputs then mean the same boxes as before (py-faster-rcnn unnormalises what it saves)."""
    looser = {"normalise": "measured", "fg_iou": 0.1, "bg_iou_high": 0.1}
    targets = by_hand("proposal_targets_step4", {"proposal_targets": looser})
    params = barely_trained("train_head_step4", init=init)
    folder = by_hand("train_head_step4", params, proposal_targets=targets)
    measured, state = json.loads((targets / "normalisation.json").read_text()), load_part(folder, "head")
    for kind in ("mean", "std"):
        np.testing.assert_allclose(state[f"delta_{kind}"].numpy(), measured[kind], rtol=1e-6)
    draw = torch.Generator().manual_seed(0)
    maps, rois = torch.rand(1, 96, 24, 24, generator=draw), [torch.tensor([[0.0, 0, 100, 100], [50, 20, 90, 180]])]
    decoded = []
    own = load_params(tiny_run.root / "params.yaml")
    for stage in (tiny_run.data / "train_head_step2", folder):
        head = load_head(stage, one_level(8, 96), own.roi_head, own.backbone)
        with torch.inference_mode():
            decoded.append(head.decode_deltas(head([maps], rois)[1]))
    assert torch.allclose(*decoded, rtol=1e-3, atol=1e-5) == (init == "step2")
    fixed = load_part(tiny_run.data / "train_head_step2", "head")["delta_std"]
    assert not torch.allclose(fixed, state["delta_std"], rtol=0.1)

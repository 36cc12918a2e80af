"""Faster R-CNN trained end to end: what its stages do that those of the four steps do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.artifacts.weights import load_part
from pipeline.families.registry import family_of
from pipeline.graphs.composing import composed
from pipeline.params.file import check_params, sections_of
from pipeline.presets.apply import apply_preset
from pipeline.presets.defaults import default_text
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT, apply_overlay, made_once
from tests.defaults import copy_graphs, default_content
from tests.families.joint_project import FAMILY, JOINT_TINY, write_project
from tests.in_process import run_stages

PREPARED = ("dataset", "backbone", "resize", "frozen_features", "anchor_targets")
SMALL: dict[str, Any] = {"dataset": {"shapes": {"train": 4, "test": 2}}, "train_end_to_end": {"iterations": 2}}


def graph() -> dict[str, Any]:
    stages: dict[str, Any] = yaml.safe_load(composed(ROOT, FAMILY))["stages"]
    return stages


def defaults() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(default_text(family_of(FAMILY)))
    return content


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole graph on a few images; do not change it."""

    def make(root: Path) -> None:
        write_project(root, apply_overlay(yaml.safe_load(yaml.safe_dump(JOINT_TINY)), SMALL))
        run_stages(root, *PREPARED, "train_end_to_end", "detect_end_to_end", "evaluate_end_to_end")

    return made_once(tmp_path_factory, "joint_run", make)


def test_all_parts_are_trained_and_judged_without_the_four_steps(trained: Path) -> None:
    stages = graph()
    assert not [name for name in stages if "step" in name or name in ("features", "finetune_joint")]
    out = trained / "data/train_end_to_end"
    for part in ("trunk", "rpn", "head"):
        weights = load_part(out, part)
        assert weights and all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())
    first, last = load_part(trained / "data/backbone", "trunk"), load_part(out, "trunk")
    assert any(not torch.equal(first[name], last[name]) for name in first)
    assert (out / "history.csv").read_text().startswith("iteration,lr,loss,rpn_objectness,rpn_box,roi_class,roi_box\n")
    metrics = json.loads((trained / "data/evaluate_end_to_end/metrics.json").read_text())
    assert {"mAP50", "AP", "proposal_recall50"} <= metrics.keys()


def test_deltas_are_normalised_as_params_yaml_says(trained: Path) -> None:
    head, given = load_part(trained / "data/train_end_to_end", "head"), defaults()["proposal_targets"]
    classes = len(json.loads((trained / "data/resize/classes.json").read_text()))
    for name in ("mean", "std"):
        assert torch.equal(head[f"delta_{name}"], torch.tensor([given[name]] * classes))


def test_defaults_are_faster_rcnns_but_for_the_sections_of_its_own() -> None:
    own, theirs = defaults(), default_content()
    differ = {name for name in own if own[name] != theirs.get(name)}
    assert differ == {"family", "proposals", "proposal_targets", "train_end_to_end"}
    steps = {"train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint"}
    assert theirs.keys() - own.keys() == steps
    for section, left_out in {"proposals": {"source", "mirrored"}, "proposal_targets": {"normalise"}}.items():
        assert theirs[section].keys() - own[section].keys() == left_out
    assert list(own) == ["family", *sections_of(family_of(FAMILY))]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("proposals.source=file", r"unknown parameter proposals\.source"),
        ("proposal_targets.normalise=measured", r"unknown parameter proposal_targets\.normalise"),
        ("proposals.file=x", f"proposals.file=x: family {FAMILY} has no parameter proposals.source; leave it out"),
        ("train_rpn_step1.lr=1", f"unknown parameter train_rpn_step1.lr: family {FAMILY} has no section"),
    ],
)
def test_what_needs_the_four_steps_is_refused(tmp_path: Path, override: str, said: str) -> None:
    copy_graphs(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match=said):
        apply_preset(tmp_path, "shapes_joint", [override])
    lines = apply_preset(tmp_path, "shapes_joint", [])
    assert not [line for line in lines if "external_proposals" in line]


def test_a_head_that_cannot_stand_on_the_trunk_is_refused() -> None:
    content = apply_overlay(defaults(), {"roi_head": {"kind": "res5"}})
    with pytest.raises(InputError, match=r"^params\.yaml: roi_head\.kind res5 is the last stage of a ResNet"):
        check_params(content, "params.yaml")

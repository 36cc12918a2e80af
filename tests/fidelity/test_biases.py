"""Biases learn at twice the rate and do not decay, in the steps' modules and in a stage (Caffe: lr_mult 2, decay 0)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.artifacts.weights import State
from pipeline.building.trunk import load_trunk
from pipeline.families.faster_rcnn.building.roi_head import load_head
from pipeline.families.faster_rcnn.building.rpn import load_rpn
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.families.faster_rcnn.training.head_step import HeadStep
from pipeline.families.faster_rcnn.training.joint_step import JointStep
from pipeline.families.faster_rcnn.training.rpn_step import RPNStep
from pipeline.nn.anchors import AnchorGrid
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from pipeline.training.loop import make_optimiser
from tests.conftest import Project
from tests.fidelity.conftest import RunByHand, barely_trained, weights_of

pytestmark = pytest.mark.authority("the papers and Caffe's solver")


def step_of(run: Project, params: Params, kind: str) -> nn.Module:
    trunk = load_trunk(run.data / "backbone", params.backbone)
    rpn = load_rpn(run.data / "train_rpn_step1", trunk.layout, params.anchors, params.rpn)
    head = load_head(run.data / "train_head_step2", trunk.layout, params.roi_head, params.backbone)
    if kind == "rpn":
        return RPNStep(rpn, params.rpn, trunk, trunk.layout)
    if kind == "head":
        return HeadStep(head, params.roi_head, trunk)
    grid, rule = AnchorGrid(16, (1.0,), (1.0,), trunk.layout), ProposalRule(-1, 0.7, 300, 8)
    return JointStep(trunk, rpn, head, grid, rule, params.rpn, params.proposal_targets, params.roi_head)


@pytest.mark.parametrize(("kind", "biases"), [("rpn", 3 + 10), ("head", 4 + 10), ("joint", 3 + 4 + 10)])
def test_every_bias_of_a_step_has_twice_the_rate_and_no_decay_and_frozen_ones_no_rate(
    tiny_run: Project, kind: str, biases: int
) -> None:
    """Authority: py-faster-rcnn's prototxts. The tiny trunk trains five convolutions with a batch norm each."""
    params = load_params(tiny_run.root / "params.yaml")
    step = step_of(tiny_run, params, kind)
    groups = make_optimiser(step, 0.1, params.solver).param_groups
    told = {id(weight): (group["lr"], group["weight_decay"]) for group in groups for weight in group["params"]}
    rates = {name: told.pop(id(weight)) for name, weight in step.named_parameters() if weight.requires_grad}
    assert not told
    assert sum(name.endswith("bias") for name in rates) == biases
    for name, (rate, decay) in rates.items():
        assert (rate, decay) == pytest.approx((0.2, 0) if name.endswith("bias") else (0.1, 5e-4)), name
    frozen = {name for name, weight in step.named_parameters() if not weight.requires_grad}
    assert frozen == {f"trunk.layers.{i}.{kind}" for i in (0, 1, 4, 5) for kind in ("weight", "bias")}


def moved(before: State, after: State, kind: str) -> torch.Tensor:
    return torch.cat([(after[name] - before[name]).flatten() for name in before if name.endswith(kind)]).double()


def test_a_stages_biases_move_twice_as_far_and_are_the_same_whatever_the_decay(
    tiny_run: Project, by_hand: RunByHand
) -> None:
    """One iteration of step 3 from step 1's RPN, whose biases are no longer 0."""
    start = weights_of(tiny_run.data / "train_rpn_step1", "rpn")
    assert all(value.abs().max() > 1e-4 for name, value in start.items() if name.endswith("bias"))

    def trained(**solver: Any) -> State:
        params = barely_trained("train_rpn_step3", lr=0.1, init="step1")
        return weights_of(by_hand("train_rpn_step3", {**params, "solver": {"clip_norm": 0.0, **solver}}), "rpn")

    plain, single, decayed = (
        trained(weight_decay=0.0),
        trained(weight_decay=0.0, bias_lr_factor=1.0),
        trained(weight_decay=0.5),
    )
    torch.testing.assert_close(moved(start, plain, "bias"), 2 * moved(start, single, "bias"), rtol=1e-2, atol=1e-8)
    assert moved(start, single, "bias").abs().max() > 1e-4
    assert all(torch.equal(plain[name], single[name]) for name in start if name.endswith("weight"))
    assert all(torch.equal(plain[name], decayed[name]) for name in start if name.endswith("bias"))
    expected = moved(start, plain, "weight") - 0.1 * 0.5 * torch.cat(
        [value.flatten() for name, value in start.items() if name.endswith("weight")]
    )
    torch.testing.assert_close(moved(start, decayed, "weight"), expected.double(), rtol=1e-3, atol=1e-7)

"""A training that ends with empty boxes says so in one line, with what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.dense.empty_boxes import empty_boxes
from pipeline.families.fcos import train_dense as of_fcos
from pipeline.families.fcos.losses import box_losses
from pipeline.families.retinanet import train_dense as of_retinanet
from tests.families.family_project import family_params, write_family_project
from tests.families.fcos.test_graph import SMALL
from tests.in_process import run_stage, run_stages


def rows(*losses: float) -> list[dict[str, float]]:
    return [{"iteration": 20.0 * (at + 1), "fcos_box": loss, "retinanet_box": loss} for at, loss in enumerate(losses)]


def test_it_says_since_when() -> None:
    line = empty_boxes(rows(1.0, 0.6, 0.9995, 1.0), "fcos_box", "train_fcos")
    assert line == (
        "fcos_box is 1 from iteration 60 on: the boxes are next to empty, where it has hardly a gradient; lower "
        "train_fcos.lr, or raise train_fcos.warmup_iterations"
    )
    assert empty_boxes(rows(1.0, 1.0, 0.9), "fcos_box", "train_fcos") is None
    assert empty_boxes(rows(2.0), "fcos_box", "train_fcos", weight=2.5) is None
    assert empty_boxes([], "fcos_box", "train_fcos") is None


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_boxes_without_area_have_a_loss_of_at_least_1_and_those_with_some_a_lower_one(kind: str) -> None:
    gt = torch.tensor([[10.0, 10.0, 50.0, 40.0], [0.0, 0.0, 8.0, 8.0]])
    points = torch.tensor([[30.0, 25.0, 30.0, 25.0], [4.0, 4.0, 4.0, 4.0]])
    assert (box_losses(points, gt, kind) >= 0.999).all()
    sides = torch.tensor([-4.0, -3.0, 4.0, 3.0])
    assert (box_losses(points + sides, gt, kind) < 0.99).all()


def test_each_family_names_its_own_remedy() -> None:
    relu, exp = ({"fcos": {"regression": name}} for name in ("relu", "exp"))
    assert str(of_fcos.remark(rows(1.0), family_params("fcos", relu))).endswith("or set fcos.regression to exp")
    assert str(of_fcos.remark(rows(1.0), family_params("fcos", exp))).endswith("train_fcos.warmup_iterations")
    iou = {"fcos": {"box_loss": "iou"}}
    assert of_fcos.remark(rows(1.02), family_params("fcos", relu, iou)) is None  # boxes with an IoU of .36
    giou, l1 = ({"retinanet": {"box_loss": name, "box_loss_weight": 2.0}} for name in ("giou", "l1"))
    assert "train_retinanet.lr" in str(of_retinanet.remark(rows(2.0), family_params("retinanet", giou)))
    assert of_retinanet.remark(rows(1.9), family_params("retinanet", giou)) is None
    assert of_retinanet.remark(rows(2.0), family_params("retinanet", l1)) is None


def test_the_stage_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_family_project(tmp_path / "project", "fcos", SMALL, {"fcos": {"regression": "relu"}})
    run_stages(root, "dataset", "backbone", "resize", "fcos_targets")
    real = of_fcos.losses

    def held(*given: Any) -> dict[str, torch.Tensor]:
        given[1]["edges"].detach().zero_()  # as a ReLU whose inputs are all below 0
        return real(*given)

    monkeypatch.setattr(of_fcos, "losses", held)
    run_stage("train_fcos", root)
    assert "train_fcos: fcos_box is 1 from iteration" in capsys.readouterr().err

"""Kinds of RoI heads: what params.yaml makes, the names of their weights, and what they start from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.artifacts.proposal_targets import Normalisation, write_normalisation
from pipeline.artifacts.weights import save_parts
from pipeline.building.layout import map_layout
from pipeline.building.trunk import new_trunk
from pipeline.families.faster_rcnn.building.roi_head import load_head, new_head, pretrained_head
from pipeline.families.faster_rcnn.nn.convs_head import ConvsHead
from pipeline.families.faster_rcnn.nn.detecting import detect_in_maps
from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.families.faster_rcnn.nn.res5_head import Res5Head
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.training.head_step import head_step_losses
from pipeline.families.faster_rcnn.training.roi_samples import DrawnRoIs
from pipeline.nn.postprocess import DetectionRule
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from pipeline.runtime.stage import Stage
from stages import train_head
from tests.parity.comparison import params_of

C4 = {"backbone": {"name": "resnet18", "weights": "random", "frozen_stages": "all"}, "roi_head": {"output_size": 4}}
ROIS = torch.tensor([[0.0, 0, 40, 40], [16, 16, 90, 60], [5, 30, 64, 96]])


def params_for(kind: str, **more: Any) -> Params:
    return params_of(C4, {"roi_head": {"kind": kind, "pool": "roi_align", "hidden": 16, **more}})


def made(params: Params, seed: int = 0) -> RoIHead:
    """With fresh weights."""
    head = new_head(map_layout(params.backbone), 3, params.roi_head, params.backbone)
    draw = torch.Generator().manual_seed(seed)
    head.initialise_hidden(draw)
    head.initialise_outputs(draw)
    return head


@pytest.mark.parametrize(
    ("kind", "made_of", "names"),
    [
        ("fc", FcHead, ("fc6.weight", "fc7.bias")),
        ("res5", Res5Head, ("res5.0.conv1.weight", "res5.0.downsample.1.running_var", "res5.1.bn2.bias")),
        ("convs", ConvsHead, ("convs.0.0.weight", "convs.3.1.running_mean", "fc6.weight")),
    ],
)
def test_a_kind_has_its_layers_under_torchvisions_names_and_all_are_trained(
    kind: str, made_of: type[RoIHead], names: tuple[str, ...]
) -> None:
    params = params_for(kind)
    head = made(params)
    assert type(head) is made_of and {*names} <= head.state_dict().keys()
    trunk = new_trunk(params.backbone)
    assert not any(weight.requires_grad for weight in trunk.parameters())
    head([torch.randn(1, 256, 7, 8)], [ROIS])[0].sum().backward()
    hidden = [weight for name, weight in head.named_parameters() if not name.startswith("bbox_pred")]
    assert all(weight.grad is not None and weight.grad.any() for weight in hidden)


@pytest.mark.parametrize("kind", ["fc", "res5", "convs"])
def test_a_head_starts_from_the_classifier_that_fits_it_and_is_drawn_else(kind: str, tmp_path: Path) -> None:
    params, layout = params_for(kind), map_layout(params_for(kind).backbone)
    other = made(params, seed=5)
    classifier = {name: value for name, value in other.state_dict().items() if not name.startswith(("cls_", "bbox_"))}

    def started(folder: Path, of: Params = params) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(1)
        head = pretrained_head(folder, layout, 4, of.roi_head, of.backbone, draw)
        assert head.num_classes == 4
        return head.state_dict()

    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    trunk = new_trunk(params.backbone)
    save_parts(tmp_path / "with", {"trunk": trunk, "classifier": classifier})
    save_parts(tmp_path / "without", {"trunk": trunk})
    hidden = [name for name in classifier if not name.startswith("delta_")]
    taken, drawn = started(tmp_path / "with"), started(tmp_path / "without")
    assert hidden and all(torch.equal(taken[name], classifier[name]) for name in hidden)
    assert not all(torch.equal(drawn[name], classifier[name]) for name in hidden)
    assert all(torch.equal(value, drawn[name]) for name, value in started(tmp_path / "without").items())
    unfitting = params_for("convs" if kind == "res5" else "res5")
    assert all(torch.isfinite(value).all() for value in started(tmp_path / "with", unfitting).values())


@pytest.mark.parametrize("kind", ["res5", "convs"])
def test_images_of_many_numbers_of_rois_meet_few_sizes_of_convolutions_and_get_the_same_figures(kind: str) -> None:
    head = made(params_for(kind)).eval()
    maps, rows = torch.randn(1, 256, 7, 8, generator=torch.Generator().manual_seed(2)), []
    shift = torch.rand(18, 1, generator=torch.Generator().manual_seed(3)) * 20
    rois = ROIS.repeat(6, 1) + shift
    whole = head.features
    head.features = lambda pooled: (rows.append(len(pooled)), whole(pooled))[1]  # type: ignore[method-assign]
    with torch.no_grad():
        found = {count: head([maps], [rois[:count]]) for count in (0, 1, 16, 18)}
    assert rows == [0, 16, 16, 32]
    for count, outputs in found.items():
        for own, all_ in zip(outputs, found[18], strict=True):
            assert len(own) == count
            torch.testing.assert_close(own, all_[:count], rtol=1e-4, atol=1e-5)


def test_a_stored_head_is_read_with_the_trunks_settings(tmp_path: Path) -> None:
    """Where blocks have their stride and the norms' epsilon change what the same weights compute."""
    params = params_for("res5")
    head = made(params)
    save_parts(tmp_path, {"head": head})
    maps, results = torch.randn(1, 256, 7, 8, generator=torch.Generator().manual_seed(2)), []
    for epsilon in (1e-5, 0.5):
        backbone = params.backbone.model_copy(update={"norm_epsilon": epsilon})
        own = load_head(tmp_path, map_layout(backbone), params.roi_head, backbone)
        results.append(own([maps], [ROIS])[0])
    torch.testing.assert_close(results[0], head.eval()([maps], [ROIS])[0])
    assert (results[0] - results[1]).abs().max() > 1e-3


def test_a_head_that_the_trunk_cannot_carry_is_refused_in_a_line() -> None:
    params = params_of()
    wrong = params.roi_head.model_copy(update={"kind": "res5"})
    with pytest.raises(InputError, match=r"^roi_head\.kind res5 is the last stage of a ResNet, .* choose kind fc, or"):
        new_head(map_layout(params.backbone), 3, wrong, params.backbone)


@pytest.mark.parametrize("kind", ["fc", "res5", "convs"])
def test_a_class_agnostic_head_learns_by_l1_and_detects(kind: str) -> None:
    """All classes of a RoI are given one box, and its gradient comes from every fg RoI, whatever its label."""
    params = params_for(kind, class_agnostic=True, box_loss="l1", samples=0, aligned=False)
    head, maps = made(params), torch.randn(1, 256, 7, 8, generator=torch.Generator().manual_seed(2))
    head.set_normalisation(torch.zeros(3, 4), torch.full((3, 4), 0.1))
    targets, fg = torch.full((3, 4), 0.5), torch.tensor([0, 2])
    drawn = DrawnRoIs([ROIS], torch.tensor([1, 0, 2]), targets, fg)
    box = head_step_losses(head.train(), (maps,), drawn, 0, params.roi_head)["roi_box"]
    deltas = head.eval()([maps], [ROIS])[1]
    assert deltas.shape == (3, 1, 4)
    torch.testing.assert_close(box, (deltas[fg, 0] - 0.5).abs().sum() / 3, rtol=1e-4, atol=1e-5)
    with torch.inference_mode():
        (found,) = detect_in_maps(head, (maps,), [ROIS], [(96, 112)], DetectionRule(0.0, 1.0, 100))
    assert len(found.boxes) == 6
    first, second = (found.boxes[found.labels == label] for label in (1, 2))
    assert {tuple(box) for box in first.tolist()} == {tuple(box) for box in second.tolist()}


@pytest.mark.parametrize("agnostic", [False, True])
def test_targets_with_a_normalisation_for_each_class_are_refused_by_a_class_agnostic_head_alone(
    agnostic: bool, tmp_path: Path
) -> None:
    params = params_for("fc", class_agnostic=agnostic)
    std = np.array([[0.1] * 4, [0.1] * 4, [0.3] * 4])
    write_normalisation(tmp_path, Normalisation(["background", "a", "b"], np.zeros((3, 4)), std))
    save_parts(tmp_path, {"trunk": new_trunk(params.backbone)})
    (tmp_path / "classes.json").write_text('["background", "a", "b"]')
    stage = SimpleNamespace(params=params, name="train_head_step2", input=lambda name: tmp_path, log=print)
    if agnostic:
        with pytest.raises(InputError, match=r"one box for all; rerun it with proposal_targets\.normalise fixed$"):
            train_head._initial_head(cast(Stage, stage), on_maps=False)
    else:
        head = train_head._initial_head(cast(Stage, stage), on_maps=False)
        np.testing.assert_allclose(head.delta_std, std)

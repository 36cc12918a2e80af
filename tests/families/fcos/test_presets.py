"""Recipes of others, as presets and as parameters."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.building.layout import map_layout
from pipeline.families.fcos.ranges import ranges_of
from pipeline.presets.apply import preset_params
from pipeline.presets.settings import leaves
from tests.families.family_project import family_params
from tests.families.fcos.scene import PYRAMID

IMPROVED = {
    "backbone.name": "resnet50",
    "backbone.neck.name": "fpn_p3_p7",
    "backbone.neck.p6_from": "p5",
    "backbone.size_divisible": 32,
    "fcos.depth": 4,
    "fcos.channels": 256,
    "fcos.norm": "group",
    "fcos.prior": 0.01,
    "fcos.centreness_on": "box",
    "fcos.regression": "scaled_relu",
    "fcos.ranges": [64.0, 128.0, 256.0, 512.0],
    "fcos.range_borders": "closed",
    "fcos.centre_radius": 1.5,
    "fcos.box_loss": "giou",
    "fcos.box_weight": "centreness",
    "fcos.focal_alpha": 0.25,
    "fcos.focal_gamma": 2.0,
    "solver.momentum": 0.9,
    "solver.weight_decay": 0.0001,
    "solver.bias_lr_factor": 2.0,
    "detect_fcos.score_threshold": 0.05,
    "detect_fcos.threshold_on": "class",
    "detect_fcos.per_level": 1000,
    "detect_fcos.nms_iou": 0.6,
    "detect_fcos.per_image": 100,
}
"""fcos_imprv_R_50_FPN_1x and the defaults that it leaves, by this project's parameters."""


def test_the_recipe_for_coco_is_that_of_the_authors_improved_version() -> None:
    have = leaves(preset_params("coco_fcos_resnet50"))
    assert {key: have[key] for key in IMPROVED} == IMPROVED
    # 16 images, a rate of .01, 90,000 iterations, drops at 60,000 and 80,000, a warm-up of 500.
    factor = 16 / have["train_fcos.images_per_iteration"]
    scaled = {"lr": 0.01 / factor, "iterations": 90_000 * factor, "warmup_iterations": 500 * factor}
    assert {name: have[f"train_fcos.{name}"] for name in scaled} == scaled
    assert have["train_fcos.lr_drop_at"] == [60_000 * factor, 80_000 * factor]


def test_small_photos_have_half_the_ranges() -> None:
    own, whole = preset_params("voc6_fcos_resnet18"), family_params("fcos", PYRAMID)
    of_presets, of_paper = (ranges_of(map_layout(params.backbone), params.fcos) for params in (own, whole))
    assert [(2 * least, 2 * most) for least, most in of_presets] == of_paper


@pytest.mark.parametrize(
    "form",
    [
        {"centreness_on": "class", "regression": "exp", "box_loss": "iou", "centre_radius": None},
        {"placement": "torchvision"},
    ],
)
def test_the_first_version_and_torchvisions_are_valid(form: dict[str, Any]) -> None:
    detect = {"detect_fcos": {"score_threshold": 0.2}, "evaluate": {"score_threshold": 0.2}}
    params = family_params("fcos", PYRAMID, {"fcos": form}, detect)
    assert all(getattr(params.fcos, name) == value for name, value in form.items())

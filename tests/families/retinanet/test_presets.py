"""The presets of RetinaNet."""

from __future__ import annotations

import itertools
import re

import pytest
import yaml

from pipeline.presets.apply import preset_names, preset_params
from pipeline.presets.settings import leaves
from tests.conftest import ROOT

PAPER = {
    "anchors.base_size": 32,
    "anchors.ratios": [0.5, 1.0, 2.0],
    "anchors.scales": [1.0, 2 ** (1 / 3), 2 ** (2 / 3)],
    "backbone.neck.name": "fpn_p3_p7",
    "backbone.neck.channels": 256,
    "retinanet.depth": 4,
    "retinanet.channels": 256,
    "retinanet.prior": 0.01,
    "retinanet.fg_iou": 0.5,
    "retinanet.bg_iou": 0.4,
    "retinanet.low_quality_matches": True,
    "retinanet.focal_alpha": 0.25,
    "retinanet.focal_gamma": 2.0,
    "detect_retinanet.score_threshold": 0.05,
    "detect_retinanet.per_level": 1000,
    "detect_retinanet.nms_iou": 0.5,
}
DETECTRON2 = {
    **PAPER,
    "anchors.placement": "detectron2",
    "anchors.whole_sizes": False,
    "backbone.frozen_stages": 2,
    "backbone.size_divisible": 32,
    "backbone.neck.p6_from": "c5",
    "retinanet.norm": "none",
    "retinanet.box_loss": "l1",
    "retinanet.normaliser": "ema",
    "solver.momentum": 0.9,
    "solver.weight_decay": 0.0001,
    "detect_retinanet.per_image": 100,
}
"""retinanet_R_50_FPN_1x.yaml and Base-RetinaNet.yaml, by this project's parameters."""


def test_the_full_recipe_is_detectron2s_by_the_linear_scaling_rule() -> None:
    have = leaves(preset_params("coco_retinanet_resnet50"))
    assert {key: have[key] for key in DETECTRON2} == DETECTRON2
    schedule = {key.partition(".")[2]: value for key, value in have.items() if key.startswith("train_retinanet.")}
    factor = 16 / schedule["images_per_iteration"]
    assert schedule["lr"] * factor == pytest.approx(0.01)
    iterations = (schedule["iterations"], *schedule["lr_drop_at"], schedule["warmup_iterations"])
    assert [own / factor for own in iterations] == [90_000, 60_000, 80_000, 1_000]


def test_every_preset_with_a_pyramid_has_nine_anchors_a_cell() -> None:
    names = preset_names("retinanet")
    assert names == ["coco_retinanet_resnet50", "shapes_retinanet", "voc6_retinanet_resnet18"]
    for name in names:
        params = preset_params(name)
        count = len(params.anchors.ratios) * len(params.anchors.scales)
        assert count == 9 or params.backbone.neck.name == "none"


def test_the_graph_in_the_docs_is_that_of_the_stages() -> None:
    page = (ROOT / "docs/retinanet.md").read_text(encoding="utf-8").partition("```mermaid\n")[2].partition("```")[0]
    drawn = set()
    for line in page.splitlines()[1:]:
        chain = re.findall(r"\w+", line)
        drawn |= set(itertools.pairwise(chain))
    stages = yaml.safe_load((ROOT / "graphs/retinanet.yaml").read_text(encoding="utf-8"))["stages"]
    wired = {
        (dep.split("/")[1], name)
        for name, stage in stages.items()
        for dep in stage["deps"]
        if "/code/" not in dep and dep not in ("data/dataset", "data/raw")
    }
    assert drawn == wired - {("resize", "evaluate_retinanet"), ("resize", "evaluate_retinanet_initial")}

"""What presets say: known parameters alone, and the values of the recipes that they are named after."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.geometry.backbones import RESNETS
from pipeline.params.file import load_params
from pipeline.presets.apply import apply_preset, preset_names, preset_params
from pipeline.presets.settings import leaves

DETECTRON2 = {
    "anchors.placement": "detectron2",
    "anchors.ratios": [0.5, 1.0, 2.0],
    "anchor_targets.allowed_border": None,
    "rpn.anchors_per_image": 256,
    "rpn.box_loss": "l1",
    "rpn.normaliser": "batch",
    "proposals.nms_iou": 0.7,
    "proposals.min_size": 0.0,
    "proposals.cut_first": True,
    "proposal_targets.fg_iou": 0.5,
    "proposal_targets.bg_iou_low": 0.0,
    "proposal_targets.std": [0.1, 0.1, 0.2, 0.2],
    "roi_head.pool": "roi_align",
    "roi_head.samples": 0,
    "roi_head.aligned": True,
    "roi_head.rois_per_image": 512,
    "roi_head.fg_fraction": 0.25,
    "roi_head.box_loss": "l1",
    "solver.momentum": 0.9,
    "solver.weight_decay": 0.0001,
    "detect.proposals": 1000,
    "detect.cut_first": True,
    "detect.score_threshold": 0.05,
    "detect.nms_iou": 0.5,
    "detect.per_image": 100,
}
"""What Base-RCNN-FPN.yaml and Base-RCNN-C4.yaml have in common, by this project's parameters."""


def test_every_preset_is_valid_and_changes_only_known_parameters(project: Path) -> None:
    assert preset_names() == [
        "bccd_tiny",
        "coco_fcos_resnet50",
        "coco_resnet50_fpn",
        "coco_retinanet_resnet50",
        "default",
        "kitti_tiny_resnet18_fpn",
        "kitti_tiny_vgg16",
        "shapes_fcos",
        "shapes_joint",
        "shapes_retinanet",
        "shapes_ssd",
        "tinycoco",
        "voc0712_resnet50_c4",
        "voc0712_ssd300",
        "voc07_vgg16",
        "voc07_vgg16_fast",
        "voc6_fcos_resnet18",
        "voc6_resnet18_fpn",
        "voc6_resnet50_c4",
        "voc6_resnet50_fpn",
        "voc6_retinanet_resnet18",
        "voc6_ssd300",
        "voc6_vgg16",
    ]
    for name in preset_names():
        apply_preset(project, name, [])
        load_params(project / "params.yaml")


def test_a_preset_of_a_resnet_without_a_neck_has_its_last_stage_as_head() -> None:
    """C4: detectron2 pools 14 x 14 for res5, which halves them."""
    c4 = {
        name: params.roi_head
        for name in preset_names("faster_rcnn")
        if (params := preset_params(name)).backbone.name in RESNETS and params.backbone.neck.name == "none"
    }
    assert "voc6_resnet50_c4" in c4
    for name, head in c4.items():
        assert (head.kind, head.pool, head.output_size) == ("res5", "roi_align", 14), name


@pytest.mark.parametrize(
    ("name", "own"),
    [
        (
            "coco_resnet50_fpn",
            {
                "backbone.neck.name": "fpn",
                "backbone.size_divisible": 32,
                "anchors.scales": [2.0],
                "rpn.channels": 256,
                "proposals.pre_nms": 2000,
                "proposals.post_nms": 1000,
                "roi_head.kind": "fc",
                "roi_head.output_size": 7,
                "roi_head.hidden": 1024,
                "detect.pre_nms": 1000,
            },
        ),
        (
            "voc0712_resnet50_c4",
            {
                "backbone.neck.name": "none",
                "backbone.size_divisible": 1,  # its ResNet without FPN asks for none
                "anchors.scales": [2.0, 4.0, 8.0, 16.0, 32.0],
                "rpn.channels": 1024,
                "proposals.pre_nms": 12000,
                "proposals.post_nms": 2000,
                "roi_head.kind": "res5",
                "roi_head.output_size": 14,
                "detect.pre_nms": 6000,
            },
        ),
    ],
)
def test_the_recipes_of_detectron2_have_its_settings(name: str, own: dict[str, object]) -> None:
    have = leaves(preset_params(name))
    wanted = {**DETECTRON2, **own, "anchors.base_size": 16, "backbone.frozen_stages": 2}
    assert {key: have[key] for key in wanted} == wanted


def test_the_fast_recipe_is_the_papers_by_the_linear_scaling_rule(project: Path) -> None:
    apply_preset(project, "voc07_vgg16", [])
    paper = yaml.safe_load((project / "params.yaml").read_text())
    apply_preset(project, "voc07_vgg16_fast", [])
    fast = yaml.safe_load((project / "params.yaml").read_text())
    assert fast["base"].pop("precision") == "bf16" and paper["base"].pop("precision") == "float32"
    trained = [name for name in paper if "images_per_iteration" in paper[name]]
    assert len(trained) == 5
    for name in trained:
        own, papers = fast[name], paper[name]
        factor = own.pop("images_per_iteration") // papers.pop("images_per_iteration")
        assert factor == (8 if "rpn" in name else 4)
        assert own.pop("lr") == pytest.approx(papers.pop("lr") * factor)
        assert own.pop("iterations") * factor == papers.pop("iterations")
        assert [at * factor for at in own.pop("lr_drop_at")] == papers.pop("lr_drop_at")
        assert own.pop("warmup_iterations") == 500 and papers.pop("warmup_iterations") == 0
    assert fast == paper


def test_the_papers_recipe_is_the_papers(project: Path) -> None:
    apply_preset(project, "voc07_vgg16", [])
    params = load_params(project / "params.yaml")
    assert [s.iterations for s in (params.train_rpn_step1, params.train_head_step2)] == [80_000, 40_000]
    assert [s.iterations for s in (params.train_rpn_step3, params.train_head_step4)] == [80_000, 40_000]
    assert [s.lr_drop_at for s in (params.train_rpn_step1, params.train_head_step4)] == [[60_000], [30_000]]
    assert [s.images_per_iteration for s in (params.train_rpn_step1, params.train_head_step2)] == [1, 2]
    assert (params.resize.shorter_side, params.resize.longer_side) == (600, 1000)
    assert (params.proposals.pre_nms, params.proposals.post_nms, params.proposals.min_size) == (-1, 2000, 16)
    assert (params.detect.pre_nms, params.detect.proposals, params.detect.nms_iou) == (6000, 300, 0.3)
    assert (params.roi_head.pool, params.roi_head.hidden, params.roi_head.dropout) == ("roi_pool", 4096, 0.5)
    assert (params.rpn.sigma, params.roi_head.sigma, params.solver.weight_decay) == (3, 1, 5e-4)
    assert params.train_rpn_step3.init == "fresh" and params.train_head_step4.init == "fresh"

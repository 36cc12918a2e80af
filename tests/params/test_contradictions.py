"""Values of params.yaml that are possible by themselves and contradict each other."""

from __future__ import annotations

import re

import pytest

from pipeline.params.file import check_params
from tests.params.checking import Content, fault, put


@pytest.mark.parametrize(("base_size", "refused"), [(1.13, True), (1.14, False)])
def test_anchors_that_would_be_rounded_to_nothing_are_refused(
    content: Content, base_size: float, refused: bool
) -> None:
    """Of ratio 2 and scale 1.25 they are 0.88 times as wide as the base."""
    content["anchors"] |= {"base_size": base_size, "placement": "torchvision"}
    if refused:
        assert "parameter anchors: placement torchvision rounds anchors to whole pixels" in fault(content)
    else:
        assert "anchors" in check_params(content, "test")
        # Truncated to 1 px they are 0.71 times as wide.
        content["anchors"]["whole_sizes"] = True
        assert "parameter anchors: placement torchvision rounds anchors to whole pixels" in fault(content)


def test_anchors_that_would_be_truncated_to_nothing_are_refused(content: Content) -> None:
    content["anchors"] |= {"base_size": 0.75, "whole_sizes": True}
    assert "parameter anchors: whole_sizes truncates sizes to whole pixels, and 0.94 px to none" in fault(content)
    del content["anchors"]["whole_sizes"]  # as in a file of an earlier version
    assert not check_params(content, "test")["anchors"].whole_sizes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"extra_sides": [256]}, "name a side twice"),
        ({"extra_sides": [300, 300]}, "name a side twice"),
        ({"extra_sides": [300], "rule": "fixed"}, "extra_sides are of rule shorter_side"),
    ],
)
def test_extra_sides_are_further_ones_of_the_rule_shorter_side(
    content: Content, changes: dict[str, object], told: str
) -> None:
    content["resize"] |= changes
    assert told in fault(content)


@pytest.mark.parametrize(
    ("section", "values", "told"),
    [
        ("anchor_targets", {"fg_iou": 0.4, "bg_iou": 0.5}, "bg_iou 0.5 is above fg_iou 0.4"),
        ("proposal_targets", {"bg_iou_low": 0.6}, "bg_iou_low <= bg_iou_high <= fg_iou must hold"),
        ("proposal_targets", {"bg_iou_high": 0.6}, "bg_iou_low <= bg_iou_high <= fg_iou must hold"),
        ("backbone", {"name": "vgg16", "weights": "pretrain"}, "use file or torchvision"),
        ("backbone", {"name": "tiny", "weights": "torchvision"}, "use pretrain, file or random"),
    ],
)
def test_values_that_contradict_each_other_are_named(
    content: Content, section: str, values: Content, told: str
) -> None:
    content[section].update(values)
    message = fault(content)
    assert f"parameter {section}: " in message
    assert told in message


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"roi_head": {"class_agnostic": True}, "proposal_targets": {"normalise": "measured"}},
            "roi_head.class_agnostic predicts one box for all classes",
        ),
        ({"roi_head": {"kind": "res5"}}, "roi_head.kind res5 is the last stage of a ResNet, and backbone.name is tiny"),
        (
            {
                "roi_head": {"kind": "res5"},
                "backbone": {"name": "resnet50", "weights": "file", "neck": {"name": "fpn"}},
            },
            "backbone.neck.name fpn has used res5 for its own; choose kind fc or convs, or neck.name none",
        ),
    ],
)
def test_sections_that_contradict_each_other_are_named(
    content: Content, changes: dict[str, Content], told: str
) -> None:
    for section, values in changes.items():
        content[section].update(values)
    assert told in fault(content)


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        ("detect.score_threshold", 0.2, r"detect\.score_threshold 0\.2 is above evaluate\.score_threshold 0\.05"),
        ("detect.per_image", 50, r"detect\.per_image 50 is below evaluate\.per_image 100"),
        ("evaluate.per_image", 101, r"detect\.per_image 100 is below evaluate\.per_image 101"),
    ],
)
def test_what_detects_keeps_all_that_is_judged(content: Content, where: str, value: float, expected: str) -> None:
    assert re.search(expected, fault(put(content, where, value)))


def test_torchvisions_weights_have_their_stride_in_the_3x3(content: Content) -> None:
    content["backbone"] |= {"name": "resnet50", "weights": "torchvision", "stride_in_1x1": True}
    assert "set stride_in_1x1 to false" in fault(content)


def test_a_neck_needs_a_backbone_of_several_stages_and_all_stages_may_be_frozen(content: Content) -> None:
    content["backbone"]["frozen_stages"] = "all"
    check_params(content, "params.yaml")
    assert "neck 'fpn' stands on the maps of resnet18, " in fault(put(content, "backbone.neck.name", "fpn"))
    content["backbone"] |= {"name": "resnet50", "weights": "torchvision"}
    check_params(content, "params.yaml")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"frozen_stages": 0, "weights": "file"}, None),
        ({"neck.name": "fpn_p3_p7"}, None),
        ({"frozen_stages": 2}, "a model of timm's is frozen whole or trained whole; set frozen_stages to all or 0"),
        ({"weights": "torchvision"}, "only; use file or random"),
        ({"weights": "pretrain"}, "exist for the tiny trunk only; use file or random"),
        (
            {"neck.name": "ssd300"},
            "neck 'ssd300' stands on the maps of vgg16; set neck.name to none, or name to one of",
        ),
        ({"neck.name": "simple_fpn", "size_divisible": 32}, None),
        ({"neck.name": "simple_fpn"}, "neck 'simple_fpn' takes whole cells of 16 px; set size_divisible to 16"),
        ({"neck.name": "simple_fpn", "size_divisible": 16, "neck.norm": "batch"}, "has layer norms and no batch norm"),
        ({"name": "vgg16", "neck.name": "simple_fpn"}, "stands on the maps of timm/MODEL; set neck.name to none, or n"),
        ({"name": "timm/"}, "resnet101, or timm/MODEL"),
        ({"name": "timm/hf-hub:a/b"}, "resnet101, or timm/MODEL"),
    ],
)
def test_a_model_of_timms_is_a_backbone(content: Content, changes: dict[str, object], expected: str | None) -> None:
    content["backbone"] |= {"name": "timm/resnet18.a1_in1k", "weights": "random", "frozen_stages": "all"}
    for key, value in changes.items():
        put(content, f"backbone.{key}", value)
    if expected is None:
        check_params(content, "params.yaml")
    else:
        assert expected in fault(content)


def test_pixels_that_are_not_kept_are_for_families_whose_stages_can_make_them(content: Content) -> None:
    message = fault(put(content, "resize.keep", "none"))
    assert message.endswith(
        "resize.keep none is for dense detectors: stages of this family read stored pixels; set it to pixels"
    )
    del content["resize"]["keep"]
    assert check_params(content, "params.yaml")["resize"].keep == "pixels"  # type: ignore[attr-defined]

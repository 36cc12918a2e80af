"""params.yaml is checked: each fault ends in one line that names section.key, and a stage sees its sections alone."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.params.file import check_params, load_params
from pipeline.runtime.errors import InputError
from tests.conftest import SECTIONS

COMMITTED = Path(__file__).resolve().parents[1] / "params.yaml"
Content = dict[str, Any]


@pytest.fixture
def content() -> Content:
    """The committed params.yaml, to be spoiled."""
    return copy.deepcopy(yaml.safe_load(COMMITTED.read_text(encoding="utf-8")))


def fault(content: object) -> str:
    with pytest.raises(InputError) as caught:
        check_params(content, "params.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("params.yaml: ")
    return message


def put(content: Content, where: str, value: object) -> Content:
    *sections, key = where.split(".")
    block = content
    for section in sections:
        block = block[section]
    block[key] = value
    return content


def test_committed_parameters_are_valid_and_every_section_is_read(content: Content) -> None:
    assert list(check_params(content, "params.yaml")) == list(SECTIONS)
    assert set(content) == {"family", *SECTIONS}
    assert load_params(COMMITTED).anchor_targets.fg_iou == content["anchor_targets"]["fg_iou"]


@pytest.mark.parametrize("where", ["rpn.chanels", "dataset.shapes.colour", "train_rpn_step3.pre_nms"])
def test_unknown_key_is_named(content: Content, where: str) -> None:
    assert f"unknown parameter {where};" in fault(put(content, where, 1))


def test_unknown_section_is_named(content: Content) -> None:
    assert "unknown section 'train_rpn_step5'" in fault(put(content, "train_rpn_step5", {}))


@pytest.mark.parametrize(
    ("where", "remedy"),
    [
        ("solver.momentum", "add `momentum: 0.9`, its default, or run frcnn preset"),
        ("dataset.voc.classes", "add `classes: null`, its default, or run frcnn preset"),
        ("dataset.voc.train", 'add `train: ["trainval"]`, its default, or run frcnn preset'),
        ("backbone.pretrain.lr", "add `lr: 0.1`, its default, or run frcnn preset"),
        ("evaluate.score_threshold", "add `score_threshold: 0.05`, its default, or run frcnn preset"),
        ("evaluate.per_image", "add `per_image: 100`, its default, or run frcnn preset"),
        ("base.deterministic", "add `deterministic: false`, its default, or run frcnn preset"),
        ("backbone.pretrain", "add its block from the params.yaml that frcnn preset writes"),
    ],
)
def test_missing_key_is_named_with_its_default(content: Content, where: str, remedy: str) -> None:
    *sections, key = where.split(".")
    block = content
    for section in sections:
        block = block[section]
    del block[key]
    said = f"params.yaml: parameter {where} is missing; {remedy}, which starts from the defaults"
    assert fault(content) == said


def test_missing_section_is_named(content: Content) -> None:
    del content["resize"]
    assert "section 'resize' is missing" in fault(content)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("train_rpn_step1.lr", "fast"),
        ("train_rpn_step1.lr", "1e-3"),  # YAML 1.1 reads 1e-3 as text
        ("train_rpn_step1.iterations", 10.5),
        ("train_rpn_step1.iterations", True),
        ("base.mirror", "no"),
        ("base.seed", None),
        ("anchors.ratios", 0.5),
        ("dataset.voc.train", "trainval"),
        ("rpn", 3),
        ("rpn", None),
    ],
)
def test_value_of_the_wrong_type_is_named_and_shown(content: Content, where: str, value: object) -> None:
    message = fault(put(content, where, value))
    assert f"parameter {where}: " in message
    assert message.endswith(f", got {value!r}")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("base.seed", -1),
        ("base.threads", 0),
        ("base.precision", "fp8"),
        ("backbone.frozen_stages", 6),
        ("resize.shorter_side", 0),
        ("resize.extra_sides", list(range(300, 351))),
        ("resize.keep", "maps"),
        ("anchors.scales", []),
        ("anchors.placement", "corners"),
        ("anchors.whole_sizes", 1.5),
        ("proposals.cut_first", 1),
        ("rpn.depth", 0),
        ("rpn.box_loss", "l2"),
        ("rpn.normaliser", "sum"),
        ("anchor_targets.fg_iou", 1.01),
        ("proposals.pre_nms", -2),
        ("proposals.pre_nms", 0),
        ("proposals.pre_nms", "all"),
        ("dataset.voc.classes", []),
        ("proposals.min_size", -0.1),
        ("proposal_targets.mean", [0.0, 0.0, 0.0]),
        ("roi_head.dropout", 1),
        ("features.dtype", "int8"),
        ("backbone.name", "resnet51"),
        ("backbone.frozen_stages", "some"),
        ("backbone.frozen_stages", True),
        ("solver.momentum", 1.0),
        ("train_rpn_step1.lr", 0),
        ("train_rpn_step1.lr", float("nan")),
        ("train_rpn_step1.lr", float("inf")),
        ("detect.per_image", 0),
    ],
)
def test_impossible_value_is_named(content: Content, where: str, value: object) -> None:
    assert f"parameter {where}: " in fault(put(content, where, value))


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


def test_parameters_of_before_there_were_extra_sides_have_none(content: Content) -> None:
    del content["resize"]["extra_sides"]
    assert check_params(content, "params.yaml")["resize"].extra_sides == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(("where", "value"), [("anchors.ratios", [1.0, 0.0]), ("proposal_targets.std", [1, 1, -1, 1])])
def test_impossible_item_of_a_list_is_named_by_its_index(content: Content, where: str, value: list[float]) -> None:
    index = next(i for i, item in enumerate(value) if item <= 0)
    assert f"parameter {where}.{index}: " in fault(put(content, where, value))


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


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_content_that_is_no_mapping_is_refused(value: object) -> None:
    assert "must hold one block per stage" in fault(value)


def test_values_cannot_be_changed_after_reading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_params(COMMITTED).rpn.sigma = 1.0


def test_sections_not_granted_are_not_readable() -> None:
    params = load_params(COMMITTED, ["base", "rpn"])
    assert params.rpn.sigma > 0
    assert params.base.seed >= 0
    with pytest.raises(InputError, match=r"--params lacks section 'solver'; dvc\.yaml has the stage's whole command"):
        _ = params.solver
    assert not hasattr(params, "solver")


def test_a_fault_in_a_section_not_granted_is_told_all_the_same(tmp_path: Path, content: Content) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(put(content, "solver.momentum", 2)), encoding="utf-8")
    with pytest.raises(InputError, match=r"parameter solver\.momentum"):
        load_params(path, ["base"])


def test_granting_a_section_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="no section 'rnp'"):
        load_params(COMMITTED, ["base", "rnp"])


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params\.yaml: no such file"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("damage", [b"base: {seed: 0\nrpn: [", b"base:\n\tseed: 0", b"\xff\xfe\x00base"])
def test_text_that_is_no_yaml_is_told_in_one_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(damage)
    with pytest.raises(InputError, match=r"params\.yaml: not valid YAML") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        ("dataset.findings.inverted", "clip", "dataset.findings.inverted: input should be 'error', 'fix' or 'drop'"),
        ("dataset.findings.zero_area", "fix", "dataset.findings.zero_area: input should be 'error' or 'drop'"),
        ("dataset.findings.subpixel", None, "dataset.findings.subpixel: input should be 'error', 'drop' or 'keep'"),
        ("dataset.findings.upside_down", "drop", "unknown parameter dataset.findings.upside_down"),
        (
            "dataset.reader",
            "csv",
            "dataset.reader: input should be 'shapes', 'voc', 'coco', 'kitti', 'yolo', 'table', 'labelme', 'cvat', ",
        ),
        ("dataset.coco.images", "{splits}", "dataset.coco: images may hold {name}, {folder}, {above} and {split}"),
        ("dataset.coco.images", "images/{name", "dataset.coco: images may hold {name}, {folder}, {above} and {split}"),
        ("dataset.kitti.merge", ["Van"], "dataset.kitti.merge: input should be a valid dictionary, got ['Van']"),
        ("dataset.kitti.merge", {"Van": 1}, "dataset.kitti.merge.Van: input should be a valid string, got 1"),
        ("dataset.table.boxes", "xyxyxy", "dataset.table.boxes: input should be 'xyxy' or 'xywh', got 'xyxyxy'"),
        ("dataset.yolo.train", [], "dataset.yolo.train: list should have at least 1 item"),
        ("evaluate.split", "train", "evaluate.split: input should be 'val' or 'test', got 'train'"),
        ("anchor_targets.ignore_ioa", 0.0, "anchor_targets.ignore_ioa: input should be greater than 0, got 0.0"),
        ("proposal_targets.ignore_ioa", 1.5, "proposal_targets.ignore_ioa: input should be less than or equal to 1"),
    ],
)
def test_readers_policies_and_splits_are_checked(content: Content, where: str, value: object, expected: str) -> None:
    assert expected in fault(put(content, where, value))


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


def test_a_params_yaml_of_no_family_is_faster_rcnns_and_an_unknown_family_is_named(content: Content) -> None:
    del content["family"]
    assert list(check_params(content, "params.yaml")) == list(SECTIONS)
    for name in ("fastr_rcnn", None, 3, "..", "family"):
        assert "no family " in fault({**content, "family": name})


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [("backbone", "frozen_blocks", "frozen_stages"), ("features", "keep_frozen_blocks", "keep_frozen_stages")],
)
def test_keys_of_earlier_versions_are_read_and_one_given_under_both_names_is_refused(
    content: Content, section: str, old: str, new: str
) -> None:
    both = put(copy.deepcopy(content), f"{section}.{old}", content[section][new])
    assert f"unknown parameter {section}.{old};" in fault(both)
    expected = check_params(content, "params.yaml")
    content[section][old] = content[section].pop(new)
    assert check_params(content, "params.yaml") == expected


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


def test_a_neck_of_an_earlier_version_says_nothing_of_p6(content: Content) -> None:
    del content["backbone"]["neck"]["p6_from"]
    assert check_params(content, "params.yaml")["backbone"].neck.p6_from == "p5"
    assert "backbone.neck.p6_from" in fault(put(content, "backbone.neck.p6_from", "p4"))


def test_pixels_that_are_not_kept_are_for_families_whose_stages_can_make_them(content: Content) -> None:
    message = fault(put(content, "resize.keep", "none"))
    assert message.endswith(
        "resize.keep none is for dense detectors: stages of this family read stored pixels; set it to pixels"
    )
    del content["resize"]["keep"]
    assert check_params(content, "params.yaml")["resize"].keep == "pixels"  # type: ignore[attr-defined]

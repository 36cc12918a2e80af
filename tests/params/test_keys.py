"""Keys of params.yaml: one that is unknown, missing or of an earlier version, and families."""

from __future__ import annotations

import copy

import pytest

from pipeline.params.file import check_params, load_params
from tests.conftest import SECTIONS
from tests.params.checking import COMMITTED, Content, fault, put


def test_committed_parameters_are_valid_and_every_section_is_read(content: Content) -> None:
    assert list(check_params(content, "params.yaml")) == list(SECTIONS)
    assert set(content) == {"family", *SECTIONS}
    assert load_params(COMMITTED).anchor_targets.fg_iou == content["anchor_targets"]["fg_iou"]


@pytest.mark.parametrize("where", ["rpn.chanels", "dataset.shapes.colour", "train_rpn_step3.pre_nms"])
def test_unknown_key_is_named(content: Content, where: str) -> None:
    assert f"unknown parameter {where};" in fault(put(content, where, 1))


def test_the_nearest_key_is_named(content: Content) -> None:
    told = fault(put(content, "backbone.neck.chanels", 1))
    assert "unknown parameter backbone.neck.chanels; the nearest is backbone.neck.channels; docs/" in told
    assert "nearest" not in fault(put(content, "base.zzz", 1))


def test_unknown_section_is_named(content: Content) -> None:
    assert "unknown section 'train_rpn_step5'" in fault(put(content, "train_rpn_step5", {}))
    del content["train_rpn_step5"]
    for name in (3, True, None, 2.5):  # what YAML makes of a key that is not quoted
        content[name] = {}
        assert f"unknown section {name}" in fault(content)
        del content[name]


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


def test_parameters_of_before_there_were_extra_sides_have_none(content: Content) -> None:
    del content["resize"]["extra_sides"]
    assert check_params(content, "params.yaml")["resize"].extra_sides == []  # type: ignore[attr-defined]


def test_parameters_of_before_there_were_images_at_once_have_one(content: Content) -> None:
    for section in ("proposals", "features", "detect"):
        del content[section]["images_at_once"]
    checked = check_params(content, "params.yaml")
    assert {checked[section].images_at_once for section in ("proposals", "features", "detect")} == {1}  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_content_that_is_no_mapping_is_refused(value: object) -> None:
    assert "must hold one block per stage" in fault(value)


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


def test_a_neck_of_an_earlier_version_says_nothing_of_p6(content: Content) -> None:
    del content["backbone"]["neck"]["p6_from"]
    assert check_params(content, "params.yaml")["backbone"].neck.p6_from == "p5"
    assert "backbone.neck.p6_from" in fault(put(content, "backbone.neck.p6_from", "p4"))

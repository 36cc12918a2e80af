"""Values of params.yaml: each that is impossible by itself is named, with what it may be."""

from __future__ import annotations

import pytest

from pipeline.artifacts.shards import IMAGES_PER_SHARD
from pipeline.params.file import check_params
from tests.params.checking import Content, fault, put


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
        ("detect.images_at_once", 0),
        ("features.images_at_once", 65),
        ("proposals.images_at_once", 2.5),
    ],
)
def test_impossible_value_is_named(content: Content, where: str, value: object) -> None:
    assert f"parameter {where}: " in fault(put(content, where, value))


def test_images_at_once_are_no_more_than_those_of_a_chunk(content: Content) -> None:
    told = "parameter detect.images_at_once: input should be less than or equal to 64, got 65"
    assert fault(put(content, "detect.images_at_once", IMAGES_PER_SHARD + 1)) == f"params.yaml: {told}"
    assert check_params(put(content, "detect.images_at_once", IMAGES_PER_SHARD), "params.yaml")


@pytest.mark.parametrize(("where", "value"), [("anchors.ratios", [1.0, 0.0]), ("proposal_targets.std", [1, 1, -1, 1])])
def test_impossible_item_of_a_list_is_named_by_its_index(content: Content, where: str, value: list[float]) -> None:
    index = next(i for i, item in enumerate(value) if item <= 0)
    assert f"parameter {where}.{index}: " in fault(put(content, where, value))


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

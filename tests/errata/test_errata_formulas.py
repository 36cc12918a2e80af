"""Formulas, printed figures and settings of common tutorials, beside what is right."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from pipeline.datasets.images import image_size
from pipeline.datasets.validation import validate
from pipeline.datasets.yolo import read_yolo
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, make_proposals
from pipeline.geometry.backbones import layout_of
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.boxes import decode, pairwise_iou
from pipeline.nn.operators import roi_pool
from pipeline.nn.roi_align import roi_align
from pipeline.runtime.errors import InputError
from tests.datasets.policies import policy
from tests.errata.conftest import Page
from tests.layouts import one_level

GRID = AnchorGrid(16, (0.5, 1.0, 2.0), (8.0, 16.0, 32.0), one_level(16))
TWO_BOXES = torch.tensor([[30.0, 20, 500, 400], [400, 300, 600, 500]])


def test_printed_anchors_are_those_of_a_smaller_image(errata: Page) -> None:
    counts = {side: len(GRID(layout_of("vgg16").sizes(side, side))) for side in (600, 800)}
    assert counts == {600: 12_321, 800: 22_500}
    errata.quotes("printed-anchors", *(f"{count:,}" for count in counts.values()))


def test_cut_before_nms_of_300_leaves_a_handful_of_proposals(errata: Page) -> None:
    """An RPN that has learnt two boxes: an anchor's logit is its best IoU with them, and no anchor is moved."""
    anchors = GRID([(50, 50)])
    objectness = pairwise_iou(TWO_BOXES, anchors).amax(dim=0)
    left = []
    for pre_nms in (300, 6000):
        rule = ProposalRule(pre_nms, 0.7, 300, 16)
        boxes, _ = make_proposals(objectness, torch.zeros(len(anchors), 4), anchors, (800, 800), rule)
        left.append(len(boxes))
    assert left == [12, 300]
    errata.quotes("cut-before-nms", *map(str, left))


def test_map_size_by_the_tutorials_formula_is_half_a_cell_short(errata: Page) -> None:
    """A window of 64 px that moves by 8 px over 800 px, and VGG16's pooling of 2 x 2 cells by 2 over 600."""
    shown = []
    for side, kernel, stride in ((800, 64, 8), (600, 2, 2)):
        (right,) = nn.functional.avg_pool1d(torch.zeros(1, 1, side), kernel, stride).shape[2:]
        shown += [f"{(side - kernel + 1) / stride:g}", str(right)]
    assert shown == ["92.125", "93", "299.5", "300"]
    errata.quotes("map-size", *shown)
    assert layout_of("vgg16").sizes(600, 600) == ((37, 37),)


def test_adaptive_pool_argument_that_is_given_second_is_not_the_width(errata: Page) -> None:
    maps = torch.arange(14.0 * 20).reshape(1, 1, 14, 20)
    wrong = nn.AdaptiveMaxPool2d(7, 5)(maps)  # type: ignore[arg-type]
    right = nn.AdaptiveMaxPool2d((7, 5))(maps)
    assert isinstance(wrong, tuple) and wrong[1].dtype == torch.int64
    assert (tuple(wrong[0].shape[2:]), tuple(right.shape[2:])) == ((7, 7), (7, 5))
    errata.quotes("adaptive-pool-argument", "7 x 7", "7 x 5")
    pooled = roi_pool(maps, torch.tensor([[0.0, 0, 0, 320, 224]]), 1 / 16, 7)
    assert tuple(pooled.shape[2:]) == (7, 7)


def test_prroi_sum_of_two_weights_is_not_an_interpolation(errata: Page) -> None:
    """A point of a map of ones: the weight of cell (i, j) from both coordinates' distances, added or multiplied."""
    side, x, y = 50, 20.3, 31.6
    cells = torch.arange(side, dtype=torch.float64)
    along_x, along_y = ((1 - (cells - place).abs()).clamp(min=0) for place in (x, y))
    wrong = float((along_x[None, :] + along_y[:, None]).sum())
    right = float((along_x[None, :] * along_y[:, None]).sum())
    ours = float(roi_align(torch.ones(1, 1, side, side), torch.tensor([[0.0, 300, 480, 348, 528]]), 1 / 16, 1).mean())
    assert (round(wrong, 6), round(right, 6), round(ours, 6)) == (100, 1, 1)
    errata.quotes("prroi-sum", f"{wrong:.0f}", f"{right:.0f}")


ANCHOR = torch.tensor([[598.0, 118, 698, 218]])
"""100 x 100 px, centred on (648, 168)."""


def test_centre_y_from_the_centres_x_puts_a_box_elsewhere(errata: Page) -> None:
    centre = (ANCHOR[0, :2] + ANCHOR[0, 2:]) / 2
    wrong = 0 * 100 + float(centre[0])
    box = decode(ANCHOR, torch.zeros(1, 4))
    right = float((box[0, 1] + box[0, 3]) / 2)
    assert (wrong, right) == (648, 168)
    errata.quotes("centre-y", f"{wrong:.0f}", f"{right:.0f}", f"{wrong - right:.0f} px")


def test_dw_twice_squares_the_growth_of_a_box(errata: Page) -> None:
    """A delta that doubles the width of an anchor of 100 px."""
    dw = math.log(2)
    wrong = math.exp(dw) * (math.exp(dw) * 100)
    box = decode(ANCHOR, torch.tensor([[0.0, 0, dw, 0]]))
    right = float(box[0, 2] - box[0, 0])
    assert (round(wrong), round(right)) == (400, 200)
    errata.quotes("dw-twice", f"{wrong:.0f}", f"{right:.0f}")


def test_printed_losses_are_not_the_sums_of_their_parts(errata: Page) -> None:
    rpn_class, rpn_box, rpn_total = 0.6940, 0.3826, 0.00248
    weight = (rpn_total - rpn_class) / rpn_box
    assert weight < 0
    roi_total, roi_sum = 4.2353, 4.9408
    errata.quotes("printed-losses", f"{rpn_class + rpn_box:.4f}", f"{weight:.2f}", f"{roi_sum - roi_total:.4f}")


def photo_of_yolo(root: Path) -> None:
    """500 x 333 px with an object of 10 x 13 px near the lower right corner."""
    for part in ("images/train", "labels/train"):
        (root / part).mkdir(parents=True)
    cv2.imwrite(str(root / "images/train/a.jpg"), np.zeros((333, 500, 3), np.uint8))
    box = [486 / 500, 318.5 / 333, 10 / 500, 13 / 333]
    (root / "labels/train/a.txt").write_text("0 " + " ".join(f"{value:.8f}" for value in box))
    (root / "data.yaml").write_text("names: [cat]\n")


def test_relative_boxes_times_size_minus_one_and_rounded_lose_iou(errata: Page, tmp_path: Path) -> None:
    photo_of_yolo(tmp_path)
    data = read_yolo(tmp_path, {"train": ["images/train"], "val": [], "test": []}, "data.yaml")
    (image,) = validate(data, policy(), image_size).images
    exact = torch.tensor([[481.0, 312, 491, 325]])
    centre_x, centre_y, width, height = 486 / 500 * 499, 318.5 / 333 * 332, 10 / 500 * 499, 13 / 333 * 332
    corners = [centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2]
    wrong = float(pairwise_iou(torch.tensor([[float(round(corner)) for corner in corners]]), exact))
    right = float(pairwise_iou(torch.from_numpy(image.boxes), exact))
    assert right > 0.9999
    errata.quotes("relative-boxes", f"{wrong:.3f}", f"{right:.3f}")


def test_test_is_train_where_both_name_one_list(errata: Page, tmp_path: Path) -> None:
    photo_of_yolo(tmp_path)
    lists = {"train": ["images/train"], "val": [], "test": ["images/train"]}
    records = list(read_yolo(tmp_path, lists, "data.yaml").records)  # type: ignore[arg-type]
    train, test = ({one.image_id for one in records if one.split == split} for split in ("train", "test"))
    errata.quotes("test-is-train", f"{len(train & test) / len(test):.0%}".replace("%", " %"))
    with pytest.raises(InputError, match="in train and in test"):
        list(validate(read_yolo(tmp_path, lists, "data.yaml"), policy(), image_size).images)  # type: ignore[arg-type]

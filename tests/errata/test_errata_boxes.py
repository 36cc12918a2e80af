"""Resizing, clipping, NMS and scoring as common tutorials do them, beside what is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.tables import TableWriter, box_columns
from pipeline.datasets.resizing import resized_size
from pipeline.families.faster_rcnn.nn.proposal_matching import match_proposals
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, make_proposals
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.metrics.rows import DetectionRows, GtRows
from pipeline.metrics.voc_ap import voc_ap
from pipeline.nn.boxes import areas, clip, pairwise_iou
from pipeline.nn.matching import BG
from pipeline.nn.operators import nms, roi_pool
from pipeline.params.resize import ResizeParams
from tests.errata.conftest import Page
from tests.in_process import run_stage

NMS_BOXES = torch.tensor(
    [[100.0, 200, 350, 300], [100, 200, 400, 500], [100, 200, 300, 800], [1000, 100, 1150, 600], [1000, 100, 1200, 700]]
)
NMS_SCORES = torch.tensor([0.6, 0.7, 0.9, 0.7, 0.8])


def greedy(order: list[int], overlap: Callable[[int, list[int]], Tensor], threshold: float) -> list[int]:
    """NMS that visits boxes in the given order."""
    kept = []
    while order:
        first, *order = order
        kept.append(first)
        order = [other for other, part in zip(order, overlap(first, order), strict=True) if part <= threshold]
    return kept


def shared_areas(first: int, others: list[int]) -> Tensor:
    """Of one of NMS_BOXES with others."""
    low = torch.maximum(NMS_BOXES[first, :2], NMS_BOXES[others, :2])
    sides = (torch.minimum(NMS_BOXES[first, 2:], NMS_BOXES[others, 2:]) - low).clamp(min=0)
    return sides.prod(dim=1)


def test_nms_by_index_drops_the_best_box_and_keeps_a_worse_one(errata: Page) -> None:
    """The boxes come sorted by score already; the tutorial sorts the indices that sorted them once more."""
    boxes, scores = NMS_BOXES.flip(0), NMS_SCORES.flip(0)
    order = scores.numpy().argsort()[::-1]
    ranked = boxes[order.copy()]
    visited = order.argsort()[::-1].tolist()
    iou = pairwise_iou(ranked, ranked)
    kept = greedy(visited, lambda first, others: iou[first, others], 0.3)
    wrong = [round(float(scores[order[rank]]), 1) for rank in kept]
    right = [round(float(scores[index]), 1) for index in nms(boxes, scores, 0.3)]
    assert (wrong, right) == ([0.6, 0.7, 0.7], [0.9, 0.8, 0.6])
    errata.quotes("nms-by-index", "0.6, 0.7, 0.7", "0.9, 0.8, 0.6")


def test_nms_other_area_drops_a_box_whose_iou_is_only_16_percent(errata: Page) -> None:
    by_score = NMS_SCORES.argsort(descending=True, stable=True).tolist()
    wrong = greedy(by_score, lambda first, others: shared_areas(first, others) / areas(NMS_BOXES[others]), 0.3)
    right = nms(NMS_BOXES, NMS_SCORES, 0.3).tolist()
    assert (wrong, right) == ([2, 4], [2, 4, 0])
    share = float(shared_areas(2, [0]) / areas(NMS_BOXES[:1]))
    iou = float(pairwise_iou(NMS_BOXES[:1], NMS_BOXES[2:3]))
    errata.quotes("nms-other-area", f"{share:.2f}", f"{iou:.2f}")
    assert (round(share, 6), round(iou, 6)) == (0.8, 0.16)


def test_inclusive_pixels_in_one_place_call_a_box_right_that_is_background_in_another(errata: Page) -> None:
    gt, box = torch.tensor([[100.0, 100, 110, 110]]), torch.tensor([[103.4, 100.0, 113.4, 110.0]])
    continuous = float(pairwise_iou(box, gt))
    inclusive = float(pairwise_iou(box + torch.tensor([0, 0, 1, 1]), gt + torch.tensor([0, 0, 1, 1])))
    assert match_proposals(box, gt, 0.5, 0.5, 0.0).labels.tolist() == [BG]
    one, no = np.ones(1, np.int64), np.zeros(1, bool)
    found = DetectionRows(one * 0, one, np.ones(1, np.float32), box.numpy())
    truth = GtRows(one * 0, one, gt.numpy(), no, no)
    wrong, right = (
        voc_ap(found, truth, 2, 0.5, inclusive_pixels=one_more).mean_all_point for one_more in (True, False)
    )
    assert (wrong, right) == (1, 0)
    errata.quotes("inclusive-pixels", f"{inclusive:.3f}", f"{continuous:.3f}", "1", "0")


def test_rank_by_fg_logit_puts_a_doubtful_box_before_a_sure_one(errata: Page) -> None:
    """Logits (bg, fg) of two anchors: (5, 6) and (-3, 2)."""
    anchors = torch.tensor([[0.0, 0, 50, 50], [100, 100, 150, 150]])
    head = RPNHead(1, 1, 2)
    head.initialise(torch.Generator())
    with torch.no_grad():
        head.cls_score.bias.copy_(torch.tensor([5.0, -3, 6, 2]))  # type: ignore[union-attr]
        objectness = head([torch.zeros(1, 1, 1, 1)])[0][0].reshape(-1)
    order, probabilities = [], []
    for scores in (torch.tensor([6.0, 2]), objectness):
        boxes, values = make_proposals(scores, torch.zeros(2, 4), anchors, (200, 200), ProposalRule(-1, 0.7, 2, 0))
        order.append(boxes[:, 0].tolist())
        probabilities.append(values.tolist())
    assert order == [[0, 100], [100, 0]]
    errata.quotes("rank-by-fg-logit", *(f"{value:.3f}" for value in probabilities[1]))
    assert probabilities[1] == pytest.approx([0.993, 0.731], abs=5e-4)


def test_clip_by_height_cuts_off_the_right_of_a_wide_image(errata: Page) -> None:
    height, width = 600, 901
    box = torch.tensor([[700.0, 100, 950, 300]])
    wrong = box.clone()
    wrong[:, 0::2] = wrong[:, 0::2].clamp(0, height)
    wrong[:, 1::2] = wrong[:, 1::2].clamp(0, width)
    right = clip(box, height, width)
    assert wrong.tolist() == [[600, 100, 600, 300]]
    assert right.tolist() == [[700, 100, 901, 300]]
    errata.quotes("clip-by-height", "(600, 100, 600, 300)", "(700, 100, 901, 300)")


def test_yxyx_columns_pool_another_part_of_the_map(errata: Page) -> None:
    """The map's values are its columns, so the largest pooled value is the last column that a RoI reaches."""
    maps = torch.arange(16.0).expand(1, 1, 16, 16).contiguous()
    roi = torch.tensor([[0.0, 16, 64, 80, 160]])
    wrong, right = (float(roi_pool(maps, rois, 1 / 16, 2).max()) for rois in (roi[:, [0, 2, 1, 4, 3]], roi))
    assert (wrong, right) == (10, 80 / 16)
    errata.quotes("yxyx-columns", "10", "5")


def test_fixed_size_stretches_a_photo_of_2000_x_1333_by_half(errata: Page) -> None:
    sides = {"shorter_side": 600, "longer_side": 1000, "fixed_width": 800, "fixed_height": 800}
    stretch = []
    for rule in ("fixed", "shorter_side"):
        height, width = resized_size(1333, 2000, ResizeParams.model_validate({"rule": rule, **sides}))
        stretch.append((height / 1333) / (width / 2000))
    assert stretch == pytest.approx([1.5004, 1.0003], abs=5e-5)
    errata.quotes("fixed-size", *(f"{value:.4f}" for value in stretch))


def resized_box(tmp_path: Path, box: list[float]) -> np.ndarray:
    """A box of a photo of 500 x 333 as the resize stage writes it for a shorter side of 600."""
    source, out = tmp_path / "dataset", tmp_path / "resize"
    (source / "images").mkdir(parents=True)
    cv2.imwrite(str(source / "images/a.png"), np.zeros((333, 500, 3), np.uint8))
    row = {"image_id": "a", "split": "train", "file": "dataset/images/a.png", "width": 500, "height": 333}
    with TableWriter(source / "images.parquet", DATASET_IMAGES) as table:
        table.write(row)
    flags = {name: np.zeros(1, bool) for name in ("difficult", "iscrowd")}
    with TableWriter(source / "boxes.parquet", DATASET_BOXES) as table:
        boxes = np.array([box], np.float32)
        table.write({"image_id": "a", **box_columns(boxes), "label": np.ones(1, np.int16), **flags})
    (source / "classes.json").write_text("[]", encoding="utf-8")
    write_manifest(source, "dataset")
    sides = {"resize": {"shorter_side": 600, "longer_side": 1000}}
    return GroundTruth(run_stage("resize", tmp_path, out, sides, dataset=source, raw=source))["a"][0]


def test_truncated_boxes_lose_iou_and_a_small_one_most(errata: Page, tmp_path: Path) -> None:
    small = [11.0, 12, 21, 25]
    exact = torch.tensor([small], dtype=torch.float64) * torch.tensor([901 / 500, 600 / 333, 901 / 500, 600 / 333])
    ours = torch.from_numpy(resized_box(tmp_path, small)).double()
    right = float(pairwise_iou(ours, exact))
    wrong = float(pairwise_iou(ours.trunc(), exact))
    assert right > 1 - 1e-6
    zebra = torch.tensor([[1544 * 0.4, 771 * 800 / 1333, 1914 * 0.4, 1063 * 800 / 1333]], dtype=torch.float64)
    large = float(pairwise_iou(zebra.trunc(), zebra))
    assert (round(wrong, 3), round(large, 3)) == (0.888, 0.983)
    errata.quotes("truncated-boxes", f"{wrong:.3f}", f"{large:.3f}", f"{right:.3f}")

"""Labels and deltas of anchors and RoIs, on random boxes and in the artifacts of a real run, against plain loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.proposal_targets import PROPOSAL_TARGETS
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.resized_tables import RESIZED_BOXES
from pipeline.artifacts.tables import Columns, boxes_of, deltas_of, read_columns
from pipeline.families.faster_rcnn.nn.proposal_matching import match_proposals
from pipeline.families.faster_rcnn.nn.roi_targets import normalise_deltas
from pipeline.nn.anchor_matching import match_anchors
from pipeline.nn.boxes import encode
from tests.conftest import Project
from tests.fidelity import reference
from tests.fidelity.conftest import RunByHand, with_rows

pytestmark = pytest.mark.authority("the papers' formulas in float64")

STRIDE = 8  # of the tiny trunk


def random_boxes(draw: np.random.Generator, count: int, size: float = 160) -> np.ndarray:
    """Boxes of whole pixels, as annotations have them, so that IoUs tie."""
    corners = draw.integers(0, size - 40, (count, 2))
    return np.concatenate([corners, corners + draw.integers(12, 80, (count, 2))], axis=1).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_anchors_are_labelled_and_matched_as_the_paper_says(seed: int) -> None:
    """Authority: Faster R-CNN, section 3.1.2. Whole pixels make anchors tie, and the last box meets no anchor."""
    draw = np.random.default_rng(seed)
    anchors = reference.anchor_boxes((12, 14), 8, 16, (0.5, 1.0, 2.0), (1.0, 2.0, 4.0))
    truths = np.concatenate([random_boxes(draw, 1 + seed), [[20, 20, 84, 84]], [[900, 900, 950, 950]]])
    truths = truths.astype(np.float32)
    matches = match_anchors(torch.from_numpy(anchors), torch.from_numpy(truths), 0.7, 0.3)
    np.testing.assert_array_equal(matches.labels.numpy(), reference.anchor_labels(anchors, truths, 0.7, 0.3))
    iou = reference.iou_matrix(truths, anchors)
    met = iou[:-1]
    assert ((met >= 0.7).any(axis=0) & (met < met.max(axis=1, keepdims=True)).all(axis=0)).any()
    np.testing.assert_allclose(matches.max_iou.numpy(), iou.max(axis=0), atol=reference.ROUNDING)
    own = iou[matches.matched_gt.numpy(), np.arange(len(anchors))]
    np.testing.assert_allclose(own, iou.max(axis=0), atol=reference.ROUNDING)


@pytest.mark.parametrize("low", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_rois_are_labelled_and_their_targets_normalised_as_fast_rcnn_says(seed: int, low: float) -> None:
    """Authority: Fast R-CNN, section 2.3 (bg from 0 in py-faster-rcnn, from 0.1 in the paper), R-CNN, appendix C."""
    draw = np.random.default_rng(seed)
    truths, classes = random_boxes(draw, 5), draw.integers(1, 4, 5)
    moved = np.repeat(truths, 20, axis=0) + draw.integers(-5, 6, (100, 4)).astype(np.float32)
    rois = np.concatenate([moved, random_boxes(draw, 60), truths])
    matches = match_proposals(torch.from_numpy(rois), torch.from_numpy(truths), 0.5, 0.5, low)
    labels = np.where(matches.labels.numpy() == 1, classes[matches.matched_gt.numpy()], matches.labels.numpy())
    np.testing.assert_array_equal(labels, reference.roi_labels(rois, truths, classes, 0.5, 0.5, low))
    assert {-1, 0} <= set(labels.tolist()) if low else set(labels.tolist()) == {0, *classes.tolist()}
    best = reference.iou_matrix(rois, truths).argmax(axis=1)
    mean, std = draw.normal(size=(4, 4)).astype(np.float32), draw.uniform(0.1, 1, (4, 4)).astype(np.float32)
    found = normalise_deltas(
        encode(torch.from_numpy(rois), torch.from_numpy(truths)[matches.matched_gt]),
        torch.from_numpy(labels),
        torch.from_numpy(mean),
        torch.from_numpy(std),
    ).numpy()
    expected = (reference.box_targets(rois, truths[best]) - mean[labels]) / std[labels]
    np.testing.assert_allclose(found[labels > 0], expected[labels > 0], rtol=1e-4, atol=1e-4)
    assert not found[labels <= 0].any()


def truths_of(run: Project, entry: Entry, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and labels of an entry, read from the table of the resize stage; mirrored by hand."""
    rows = read_columns(run.data / "resize/boxes.parquet", RESIZED_BOXES)
    own = rows["image_id"] == entry.image_id
    boxes, labels = boxes_of(rows)[own], rows["label"][own]
    if entry.mirrored:
        x1, y1, x2, y2 = boxes.T
        boxes = np.stack([width - x2, y1, width - x1, y2], axis=1)
    return boxes, labels


def entries_of(run: Project) -> list[tuple[Entry, tuple[int, int]]]:
    images = ResizedImages(run.data / "resize", "train")
    return [(Entry(image.image_id, view), image.size) for image in images for view in (0, 1)]


def params_of(run: Project) -> dict[str, Any]:
    return yaml.safe_load((run.root / "params.yaml").read_text())


def test_anchor_targets_of_a_run_are_those_of_the_paper_for_images_and_mirrors(tiny_run: Project) -> None:
    """Authority: Faster R-CNN, sections 3.1.2 and 3.3 (anchors that cross the border of the image are ignored)."""
    params, targets = params_of(tiny_run), AnchorTargets(tiny_run.data / "anchor_targets")
    shape = params["anchors"]
    fg_count = 0
    for entry, (height, width) in entries_of(tiny_run)[:10]:
        cells = (height // STRIDE, width // STRIDE)
        anchors = reference.anchor_boxes(cells, STRIDE, shape["base_size"], shape["ratios"], shape["scales"])
        truths, _ = truths_of(tiny_run, entry, width)
        inside = (anchors >= 0).all(axis=1) & (anchors[:, 2] <= width) & (anchors[:, 3] <= height)
        labels = np.full(len(anchors), -1)
        labels[inside] = reference.anchor_labels(anchors[inside], truths, 0.7, 0.3)
        assigned = targets[entry]
        np.testing.assert_array_equal(assigned.fg, np.flatnonzero(labels == 1))
        np.testing.assert_array_equal(assigned.bg, np.flatnonzero(labels == 0))
        expected = reference.box_targets(anchors[assigned.fg], truths[assigned.matched_gt])
        np.testing.assert_allclose(assigned.deltas, expected, rtol=1e-4, atol=1e-5)
        fg_count += len(assigned.fg)
    assert fg_count > 20


@pytest.mark.parametrize("step", ["step2", "step4"])
def test_proposal_targets_of_a_run_are_those_of_the_paper_with_gt_boxes_as_candidates_of_rank_minus_1(
    tiny_run: Project, step: str
) -> None:
    """Authority: Fast R-CNN, section 2.3; py-faster-rcnn's ProposalTargetLayer appends the gt boxes."""
    proposals = {"step2": "proposals_step1", "step4": "proposals_step3"}[step]
    proposed = ImageRows(tiny_run.data / proposals / "proposals.parquet", PROPOSALS)
    targets = ImageRows(tiny_run.data / f"proposal_targets_{step}/proposal_targets.parquet", PROPOSAL_TARGETS)
    fg_count = 0
    for entry, (_, width) in entries_of(tiny_run):
        truths, classes = truths_of(tiny_run, entry, width)
        given, rows = proposed[entry], targets[entry]
        candidates = np.concatenate([boxes_of(given), truths])
        np.testing.assert_array_equal(boxes_of(rows), candidates)
        np.testing.assert_array_equal(rows["rank"], [*given["rank"], *[-1] * len(truths)])
        labels = reference.roi_labels(candidates, truths, classes, 0.5, 0.5, 0.0)
        np.testing.assert_array_equal(rows["label"], labels)
        fg = labels > 0
        fg_count += int(fg.sum())
        if len(truths) == 0:
            continue
        assert rows["label"][-len(truths) :].tolist() == classes.tolist()
        iou = reference.iou_matrix(candidates, truths)
        np.testing.assert_allclose(rows["max_iou"], iou.max(axis=1), atol=reference.ROUNDING)
        wanted = reference.box_targets(candidates, truths[iou.argmax(axis=1)]) / [0.1, 0.1, 0.2, 0.2]
        np.testing.assert_allclose(deltas_of(rows)[fg], wanted[fg], rtol=1e-4, atol=1e-4)
        assert not deltas_of(rows)[~fg].any()
    assert fg_count > 20


def raw_targets(run: Project, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels and unnormalised deltas of all fg RoIs of a run, by the loops."""
    rows = ImageRows(folder / "proposal_targets.parquet", PROPOSAL_TARGETS)
    labels, deltas = [], []
    for entry, (_, width) in entries_of(run):
        truths, _ = truths_of(run, entry, width)
        fg = rows[entry]["label"] > 0
        boxes, matched = boxes_of(rows[entry])[fg], rows[entry]["matched_gt"][fg]
        labels.append(rows[entry]["label"][fg])
        deltas.append(reference.box_targets(boxes, truths[matched] if len(matched) else boxes))
    return np.concatenate(labels), np.concatenate(deltas)


def normalised_targets(run: Project, folder: Path) -> np.ndarray:
    rows = ImageRows(folder / "proposal_targets.parquet", PROPOSAL_TARGETS)
    parts = [rows[entry] for entry, _ in entries_of(run)]
    return np.concatenate([deltas_of(part)[part["label"] > 0] for part in parts])


@pytest.mark.parametrize("way", ["fixed", "measured"])
def test_targets_are_normalised_by_given_numbers_or_by_those_measured_class_by_class(
    tiny_run: Project, by_hand: RunByHand, way: str
) -> None:
    """Authority: py-faster-rcnn's BBOX_NORMALIZE_TARGETS_PRECOMPUTED (fixed) and add_bbox_regression_targets."""
    looser = {"fg_iou": 0.1, "bg_iou_high": 0.1}  # so that a dozen images have fg proposals of every class
    folder = by_hand("proposal_targets_step2", {"proposal_targets": {"normalise": way, **looser}})
    content = json.loads((folder / "normalisation.json").read_text())
    labels, raw = raw_targets(tiny_run, folder)
    mean, std = np.zeros((4, 4)), np.tile([0.1, 0.1, 0.2, 0.2], (4, 1))
    if way == "measured":
        for label in set(labels.tolist()):
            own = raw[labels == label]
            assert own.std(axis=0).min() > 0.01
            mean[label], std[label] = own.mean(axis=0), own.std(axis=0)
    assert content["classes"][0] == "background" and len(content["classes"]) == 4
    np.testing.assert_allclose(content["mean"], mean, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(content["std"], std, rtol=1e-3, atol=1e-5)
    found = normalised_targets(tiny_run, folder)
    np.testing.assert_allclose(found, (raw - mean[labels]) / std[labels], rtol=1e-2, atol=1e-3)


def test_a_class_whose_fg_rois_are_its_gt_boxes_alone_has_no_spread_to_measure_and_keeps_the_given_numbers(
    tiny_run: Project, by_hand: RunByHand, tmp_path: Path
) -> None:
    """Authority: Fast R-CNN 2.3, targets of zero mean and unit variance, which equal targets cannot have."""

    def into_the_corner(columns: Columns) -> None:
        for side, place in {"x1": 0, "y1": 0, "x2": 1, "y2": 1}.items():
            columns[side][:] = place

    proposals = with_rows(
        tiny_run.data / "proposals_step1", tmp_path / "proposals", "proposals.parquet", into_the_corner
    )
    folder = by_hand("proposal_targets_step2", {"proposal_targets": {"normalise": "measured"}}, proposals=proposals)
    content = json.loads((folder / "normalisation.json").read_text())
    np.testing.assert_allclose(content["std"], np.tile([0.1, 0.1, 0.2, 0.2], (4, 1)), rtol=1e-6)
    assert not np.any(content["mean"])

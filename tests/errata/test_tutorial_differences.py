"""The sizes that docs/compatibility.md gives for differences from common tutorials, computed."""

from __future__ import annotations

import inspect

import cv2
import numpy as np
import pytest
import torch
import yaml

from pipeline.bundle.commands import predict
from pipeline.families.faster_rcnn.nn.proposal_matching import match_proposals
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule, make_proposals
from pipeline.families.faster_rcnn.nn.rpn_losses import rpn_losses
from pipeline.geometry.backbones import layout_of
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.matching import FG
from pipeline.nn.operators import roi_pool
from tests.conftest import ROOT
from tests.errata.conftest import Page
from tests.errata.test_compatibility import synthetic
from tests.layouts import one_level

PAPER = yaml.safe_load((ROOT / "pipeline/presets/voc07_vgg16.yaml").read_text(encoding="utf-8"))
KITTI = ROOT.parent / "shared/data/kitti_tiny"


def test_the_four_steps_take_all_anchors_as_candidates(compatibility: Page) -> None:
    grid = AnchorGrid(16, (0.5, 1.0, 2.0), (8.0, 16.0, 32.0), one_level(16))
    anchors = len(grid(layout_of("vgg16", ceil_pool=True).sizes(600, 800)))
    assert (PAPER["proposals"]["pre_nms"], PAPER["finetune_joint"]["pre_nms"]) == (-1, 12_000)
    assert anchors > 12_000
    compatibility.quotes("Proposals of the four steps", f"{anchors:,}", "12,000", "-1")


def test_least_size_is_that_of_the_original_image(compatibility: Page) -> None:
    scale, side = 600 / 375, 12
    box = torch.tensor([[50.0, 50, 50 + side * scale, 50 + side * scale]])
    kept = []
    for scales in ((scale, scale), (1.0, 1.0)):
        found, _ = make_proposals(
            torch.zeros(1), torch.zeros(1, 4), box, (600, 800), ProposalRule(-1, 0.7, 1, 16), scales
        )
        kept.append(len(found))
    assert kept == [0, 1]
    compatibility.quotes("The least size", f"{16 * scale:.1f} px", f"{side * scale:.1f} px")


def test_roi_corners_that_are_cut_off_fall_on_another_cell_half_the_time(compatibility: Page) -> None:
    """The map's values are its columns, so the largest pooled value is the last column that a RoI reaches."""
    maps = torch.arange(64.0).expand(1, 1, 64, 64).contiguous()
    edges = torch.arange(160.0, 176)
    rois = torch.stack([torch.zeros(16), torch.zeros(16), torch.zeros(16), edges, edges], dim=1)
    last = roi_pool(maps, rois, 1 / 16, 7).amax(dim=(1, 2, 3))
    differ = int((last != (edges / 16).long()).sum())
    compatibility.quotes("RoIPool rounds", f"{differ} of {len(edges)}")


def test_vans_among_the_cars_of_kitti_tiny(compatibility: Page) -> None:
    if not KITTI.is_dir():
        pytest.skip("needs ../shared/data/kitti_tiny")
    files = list((KITTI / "training/label_2").glob("*.txt"))
    names = [line.split()[0] for file in files for line in file.read_text().splitlines()]
    vans, cars = names.count("Van"), names.count("Car")
    compatibility.quotes("KITTI's Van", f"{vans} of the {vans + cars}", f"{len(files)} photos")
    test = (KITTI / "val.txt").read_text().split()
    assert not set(test) & set((KITTI / "train.txt").read_text().split())
    compatibility.quotes("KITTI is tested", f"{len(test)} images")


def test_normalised_anchor_deltas_weigh_more(compatibility: Page) -> None:
    losses = []
    for std in (1.0, 0.1):
        off = torch.full((1, 4), 0.2 / std)
        _, box = rpn_losses(torch.zeros(1), torch.ones(1), off, torch.zeros(1, 4), torch.ones(1), 3.0)
        losses.append(float(box))
    compatibility.quotes("Deltas of anchors", f"{losses[1] / losses[0]:.1f}")


def test_cubic_resizing_differs_by_a_few_levels(compatibility: Page) -> None:
    image = synthetic(375, 500)
    linear, cubic = (cv2.resize(image, (800, 600), interpolation=how) for how in (cv2.INTER_LINEAR, cv2.INTER_CUBIC))
    apart = float(np.abs(linear.astype(int) - cubic.astype(int)).mean())
    compatibility.quotes("Images are resized by the bilinear", f"{apart:.1f} levels")


def test_a_roi_of_exactly_half_is_fg(compatibility: Page) -> None:
    half, whole = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 20, 10]])
    matches = match_proposals(half, whole, 0.5, 0.5, 0.0)
    assert matches.labels.tolist() == [FG] and matches.max_iou.tolist() == [0.5]
    compatibility.quotes("A RoI is fg from", "0.5")


def test_predict_shows_other_scores_than_are_judged(compatibility: Page) -> None:
    shown = inspect.signature(predict).parameters["score"].default
    judged = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["evaluate"]["score_threshold"]
    compatibility.quotes("`frcnn predict` and", f"score {shown:g}", f"{judged:g}")

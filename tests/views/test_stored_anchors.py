"""Anchors found again from stored targets: by their deltas and gt boxes, without the grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.artifacts.anchor_targets import ANCHOR_IMAGES, FG_ANCHORS, AnchorTargets
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.tables import deltas_of
from pipeline.building.anchors import anchor_grid
from pipeline.nn.boxes import encode
from pipeline.params.file import load_params
from pipeline.views.stored_anchors import decode_anchors
from tests.layouts import one_level

if TYPE_CHECKING:
    from tests.conftest import Project


def test_deltas_lead_back_to_their_anchors() -> None:
    draw = np.random.default_rng(0)
    boxes = draw.uniform(0, 500, (2, 100, 2))
    corners = np.concatenate([boxes, boxes + draw.uniform(1, 300, (2, 100, 2))], axis=2).astype(np.float32)
    anchors, gt = (torch.from_numpy(part) for part in corners)
    decoded_anchors = decode_anchors(encode(anchors, gt).numpy(), gt.numpy())
    assert decoded_anchors.dtype == np.float32
    np.testing.assert_allclose(decoded_anchors, anchors.numpy(), atol=2e-3)
    assert decode_anchors(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0, 4)


def test_decoded_anchors_are_those_of_the_parameters(tiny_run: Project) -> None:
    params = load_params(tiny_run.root / "params.yaml", ["anchors"])
    grid = anchor_grid(params.anchors, one_level(8))
    images, gt = ResizedImages(tiny_run.data / "resize", "train"), GroundTruth(tiny_run.data / "resize")
    index = ImageRows(tiny_run.data / "anchor_targets/images.parquet", ANCHOR_IMAGES)
    rows = ImageRows(tiny_run.data / "anchor_targets/fg_anchors.parquet", FG_ANCHORS)
    targets = AnchorTargets(tiny_run.data / "anchor_targets")
    checked = 0
    for image in images:
        size = index[image.image_id, False]
        anchors = grid([(int(size["feature_height"][0]), int(size["feature_width"][0]))]).numpy()
        for entry in (Entry(image.image_id), Entry(image.image_id, 1)):
            own = rows[entry]
            gt_boxes = gt.boxes(entry, image.size[1])[own["matched_gt"].astype(int)]
            found = decode_anchors(deltas_of(own), gt_boxes)
            np.testing.assert_allclose(found, anchors[targets[entry].fg], atol=2e-3)
            checked += len(found)
    assert checked > 50

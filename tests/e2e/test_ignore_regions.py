"""Ignore regions and crowds through the stages that assign anchors and proposals, on one image made by hand."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.proposal_targets import PROPOSAL_TARGETS
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_images import evaluated_images
from pipeline.artifacts.resized_tables import RESIZED_BOXES, RESIZED_IMAGES
from pipeline.artifacts.tables import boxes_of, read_columns, write_table
from pipeline.building.anchors import anchor_grid
from pipeline.building.trunk import new_trunk
from pipeline.runtime.errors import InputError
from tests.defaults import default_params
from tests.in_process import run_stage

PARAMS = default_params()
WIDTH = 200
CAR = [10, 10, 60, 50]
REGION = [100, 20, 190, 150]


def resized(folder: Path, *rows: tuple[list[int], int, bool], difficult: Collection[int] = ()) -> Path:
    """A resize folder of one 200 x 160 image with boxes of (box, label, iscrowd), some of which are difficult."""
    folder.mkdir()
    (folder / "classes.json").write_text(json.dumps(["background", "car"]))
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    write_table(
        folder / "boxes.parquet",
        RESIZED_BOXES,
        {
            "image_id": ["a"] * len(rows),
            "view": [0] * len(rows),
            **{name: boxes[:, i] for i, name in enumerate(("x1", "y1", "x2", "y2"))},
            "label": [row[1] for row in rows],
            "difficult": [row in difficult for row in range(len(rows))],
            "iscrowd": [row[2] for row in rows],
        },
    )
    one = {"width": WIDTH, "height": 160, "original_width": WIDTH, "original_height": 160}
    one |= {"image_id": "a", "view": 0, "split": "train", "scale_x": 1.0, "scale_y": 1.0, "shard": "pixels_00000.npz"}
    write_table(folder / "images.parquet", RESIZED_IMAGES, {key: [value] for key, value in one.items()})
    write_manifest(folder, "resize")
    return folder


def assigned(resize: Path, out: Path) -> AnchorTargets:
    return AnchorTargets(run_stage("anchor_targets", resize.parent, out, resize=resize))


def share(boxes: np.ndarray, region: list[float]) -> np.ndarray:
    """Rounded, as many anchors have exactly half of their area in the region, and their sides are irrational."""
    low, high = np.maximum(boxes[:, :2], region[:2]), np.minimum(boxes[:, 2:], region[2:])
    return (np.maximum(high - low, 0).prod(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1)).round(9)


@pytest.mark.parametrize(("label", "crowd"), [(-1, False), (1, True)], ids=["ignore region", "crowd"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_anchors_in_a_region_are_no_background(tmp_path: Path, label: int, crowd: bool, mirrored: bool) -> None:
    plain = assigned(resized(tmp_path / "plain", (CAR, 1, False)), tmp_path / "before")
    region = assigned(resized(tmp_path / "region", (CAR, 1, False), (REGION, label, crowd)), tmp_path / "after")
    entry = Entry("a", int(mirrored))
    trunk = new_trunk(PARAMS.backbone)
    anchors = anchor_grid(PARAMS.anchors, trunk.layout).exact(trunk.layout.sizes(160, WIDTH)).numpy()
    seen = [WIDTH - REGION[2], REGION[1], WIDTH - REGION[0], REGION[3]] if mirrored else REGION
    inside = share(anchors, seen) >= 0.5
    assert (share(anchors, seen) == 0.5).any()
    before, after = plain[entry], region[entry]
    assert after.fg.tolist() == before.fg.tolist() and len(before.fg)
    assert after.bg.tolist() == [index for index in before.bg.tolist() if not inside[index]]
    assert len(after.bg) < len(before.bg)


def test_proposals_in_a_region_are_no_background_and_the_region_is_no_target(tmp_path: Path) -> None:
    resize = resized(tmp_path / "resize", (CAR, 1, False), (REGION, -1, False))
    boxes = np.array([CAR, [120, 30, 180, 100], [80, 20, 120, 60], [70, 20, 118, 60]], np.float32)
    proposals = tmp_path / "proposals"
    proposals.mkdir()
    columns = {"image_id": ["a"] * 4, "view": [0] * 4, "rank": range(4), "score": [0.5] * 4}
    columns |= {name: boxes[:, i] for i, name in enumerate(("x1", "y1", "x2", "y2"))}
    write_table(proposals / "proposals.parquet", PROPOSALS, columns)
    write_manifest(proposals, "proposals_step1")
    out = run_stage("proposal_targets_step2", tmp_path, tmp_path / "out", resize=resize, proposals=proposals)
    rows = read_columns(out / "proposal_targets.parquet", PROPOSAL_TARGETS)
    plain = rows["view"] == 0
    # The car, inside, half inside, 18 of 48 px inside, and the car again as an appended gt box.
    assert rows["label"][plain].tolist() == [1, -1, -1, 0, 1]
    assert boxes_of(rows)[plain][-1].tolist() == CAR


def test_regions_are_no_gt_and_mirror_with_the_image(tmp_path: Path) -> None:
    gt = GroundTruth(resized(tmp_path / "resize", (CAR, 1, False), (REGION, -1, False), ([0, 0, 9, 9], 1, True)))
    assert gt["a"][0].tolist() == [CAR] and gt["a"][1].tolist() == [1]
    assert gt.regions(Entry("a"), WIDTH).tolist() == [REGION, [0, 0, 9, 9]]
    assert gt.regions(Entry("a", 1), WIDTH).tolist() == [[10, 20, 100, 150], [191, 0, 200, 9]]
    assert gt.regions(Entry("b"), WIDTH).shape == (0, 4)


def test_a_split_without_images_is_told(tmp_path: Path) -> None:
    resize = resized(tmp_path / "resize", (CAR, 1, False))
    assert len(evaluated_images(resize, "train")) == 1
    with pytest.raises(InputError, match=r"images\.parquet: has no val images; change evaluate\.split or dataset"):
        evaluated_images(resize, "val")

"""What the reference codes disagree on: each value of each choice does in a stage what that code does.

Initial heads stand in test_four_steps.py, the normalisation of targets in test_targets.py.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.artifacts.anchor_targets import ANCHOR_IMAGES
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.maps import FeatureMaps
from pipeline.artifacts.proposal_targets import PROPOSAL_TARGETS
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.shards import ShardWriter, images_per_shard
from pipeline.artifacts.tables import boxes_of, read_columns
from pipeline.building.trunk import new_trunk
from pipeline.geometry.backbones import VGGShape
from pipeline.geometry.trunk_settings import TrunkSettings
from pipeline.nn import roi_pooling
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.backbones.build import build_trunk
from pipeline.nn.backbones.vgg import VGGTrunk
from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from tests.conftest import Project
from tests.fidelity.conftest import RunByHand, barely_trained, files_of, with_rows

pytestmark = pytest.mark.authority("the reference codes, value by value")


def proposals_in(folder: Path, image_id: str, mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    rows = ImageRows(folder / "proposals.parquet", PROPOSALS)[image_id, mirrored]
    return boxes_of(rows), rows["score"]


@pytest.fixture
def flipped(tiny_run: Project, tmp_path: Path) -> Path:
    """The resized images with every pixel row reversed on disk."""
    folder = with_rows(tiny_run.data / "resize", tmp_path / "flipped", "images.parquet", lambda _: None)
    images = ResizedImages(tiny_run.data / "resize")
    with ShardWriter(folder, "pixels", images_per_shard(len(images))) as shards:
        for image in images:
            assert shards.add({image.image_id: images.pixels(Entry(image.image_id))[:, ::-1]}) == image.shard
    write_manifest(folder, "resize")
    return folder


def test_recomputed_proposals_of_a_mirror_are_those_of_an_image_that_was_mirrored_on_disk(
    tiny_run: Project, by_hand: RunByHand, flipped: Path
) -> None:
    """py-faster-rcnn appends flipped images to the roidb and proposes for each of them."""
    params = {"base": {"precision": "float32"}, "proposals": {"mirrored": "recomputed"}}
    plain, other = by_hand("proposals_step1", params), by_hand("proposals_step1", params, resize=flipped)
    by_mirroring = []
    for image in ResizedImages(tiny_run.data / "resize", "train"):
        for mirrored in (False, True):
            own, from_disk = (
                proposals_in(plain, image.image_id, mirrored),
                proposals_in(other, image.image_id, not mirrored),
            )
            assert len(own[0]) > 0
            np.testing.assert_allclose(own[0], from_disk[0], atol=1e-3)
            np.testing.assert_allclose(own[1], from_disk[1], atol=1e-5)
        boxes, mirrors = (proposals_in(plain, image.image_id, mirrored)[0] for mirrored in (False, True))
        by_mirroring.append(boxes.shape == mirrors.shape and np.allclose(mirrors[:, 0], image.size[1] - boxes[:, 2]))
    assert not all(by_mirroring)


def test_mirrored_proposals_of_a_mirror_are_the_boxes_of_the_image_mirrored_in_the_same_order(
    tiny_run: Project, by_hand: RunByHand
) -> None:
    """The MATLAB original flips the boxes of the plain image."""
    folder = by_hand("proposals_step1", {"proposals": {"mirrored": "mirrored"}})
    for image in ResizedImages(tiny_run.data / "resize", "train"):
        (boxes, scores), (mirrors, of_mirrors) = (proposals_in(folder, image.image_id, m) for m in (False, True))
        width = image.size[1]
        x1, y1, x2, y2 = boxes.T
        assert len(boxes) > 0
        np.testing.assert_array_equal(mirrors, np.stack([width - x2, y1, width - x1, y2], axis=1))
        np.testing.assert_array_equal(scores, of_mirrors)


@pytest.mark.parametrize("low", [0.0, 0.1])
def test_rois_below_the_lower_bound_of_the_background_are_ignored(by_hand: RunByHand, low: float) -> None:
    """0 in py-faster-rcnn's VGG16 settings, 0.1 in Fast R-CNN, section 2.3, and the MATLAB original."""
    folder = by_hand("proposal_targets_step2", {"proposal_targets": {"bg_iou_low": low}})
    rows = read_columns(folder / "proposal_targets.parquet", PROPOSAL_TARGETS)
    below = rows["max_iou"] < np.float32(low)
    between = (rows["max_iou"] >= np.float32(low)) & (rows["max_iou"] < 0.5)
    assert below.any() == (low > 0) and between.any()
    assert set(rows["label"][below].tolist()) <= {-1}
    assert set(rows["label"][between].tolist()) == {0}
    assert (rows["label"][rows["max_iou"] >= 0.5] > 0).all()


TRAINS_ON_ANCHORS = [("train_rpn_step1", "resize"), ("train_rpn_step3", "features"), ("finetune_joint", "resize")]


def without_boxes(run: Project, target: Path, image_id: str) -> Path:
    """The resized images, one of them without any gt box."""
    return with_rows(run.data / "resize", target, "boxes.parquet", lambda rows: rows["image_id"] != image_id)


def first_train_image(run: Project) -> str:
    return next(iter(ResizedImages(run.data / "resize", "train"))).image_id


@pytest.mark.parametrize(("stage", "table"), TRAINS_ON_ANCHORS)
def test_an_image_without_gt_trains_the_rpn_as_background_or_is_dropped(
    tiny_run: Project, by_hand: RunByHand, tmp_path: Path, stage: str, table: str
) -> None:
    """Dropped by py-faster-rcnn (filter_roidb), background in Detectron2 and torchvision."""
    image_id = first_train_image(tiny_run)
    resize = without_boxes(tiny_run, tmp_path / "resize", image_id)
    inputs = {"anchor_targets": by_hand("anchor_targets", resize=resize)}
    source = resize if table == "resize" else tiny_run.data / "features"
    rest = barely_trained(stage, iterations=5, lr=0.01)

    def run(handling: str, images: Path) -> Path:
        params = {**rest, "rpn": {"images_without_gt": handling}}
        return by_hand(stage, params, **inputs, **{table: images})

    absent = with_rows(source, tmp_path / "absent", "images.parquet", lambda rows: rows["image_id"] != image_id)
    dropped, without = run("drop", source), run("drop", absent)
    assert files_of(dropped) == files_of(without) != files_of(run("background", source))

    def alone(rows: dict[str, np.ndarray]) -> np.ndarray:
        return rows["image_id"] == image_id

    only = with_rows(source, tmp_path / "only", "images.parquet", alone)
    (row, *_) = csv.DictReader((run("background", only) / "history.csv").read_text().splitlines())
    assert float(row["rpn_box"]) == 0
    assert 0.1 < float(row["rpn_objectness"]) < 2 * math.log(2)
    with pytest.raises(InputError, match=r"none of 1 training images has a gt box.*set it to background"):
        run("drop", only)


@pytest.mark.parametrize("pool", ["roi_pool", "roi_align"])
@pytest.mark.parametrize("stage", ["train_head_step2", "train_head_step4", "finetune_joint", "detect_step4"])
def test_every_stage_with_a_roi_head_pools_as_the_parameter_says(
    by_hand: RunByHand, monkeypatch: pytest.MonkeyPatch, stage: str, pool: str
) -> None:
    """RoIPool in Fast R-CNN, RoIAlign in Mask R-CNN and later codes."""
    used = set()

    def noting(name: str, operator: Any) -> Any:
        return lambda *given, **known: (used.add(name), operator(*given, **known))[1]

    for name, operator in roi_pooling.POOLS.items():
        monkeypatch.setitem(roi_pooling.POOLS, name, noting(name, operator))
    training = {} if stage.startswith("detect") else barely_trained(stage)
    by_hand(stage, {**training, "roi_head": {"pool": pool}})
    assert used == {pool}


@pytest.mark.parametrize(("ceil_pool", "cells"), [(False, 23), (True, 24)])
def test_odd_sides_are_rounded_alike_by_anchors_maps_and_training(
    tiny_run: Project, by_hand: RunByHand, ceil_pool: bool, cells: int
) -> None:
    """Down in torchvision, up in Caffe's pooling: 190 px become 95, then 47 or 48, then 23 or 24 cells."""
    params = {"resize": {"shorter_side": 190}, "backbone": {"ceil_pool": ceil_pool}}
    resize = by_hand("resize", params)
    targets = by_hand("anchor_targets", params, resize=resize)
    features = by_hand("features", params, resize=resize)
    table = read_columns(targets / "images.parquet", ANCHOR_IMAGES)
    assert {(int(h), int(w)) for h, w in zip(table["feature_height"], table["feature_width"], strict=True)} == {
        (cells, cells)
    }
    assert set(table["anchors"].tolist()) == {cells * cells * 12}
    maps = FeatureMaps(features)
    assert {level.shape for entry in maps for level in maps[entry]} == {(96, cells, cells)}
    step1 = {**params, **barely_trained("train_rpn_step1")}
    by_hand("train_rpn_step1", step1, resize=resize, anchor_targets=targets)
    step3 = {**params, **barely_trained("train_rpn_step3")}
    by_hand("train_rpn_step3", step3, features=features, anchor_targets=targets)
    trunk = new_trunk(load_params(tiny_run.root / "params.yaml").backbone.model_copy(update={"ceil_pool": ceil_pool}))
    assert trunk.layout.sizes(190, 190) == ((cells, cells),)


@pytest.mark.parametrize(("ceil_pool", "size", "anchors"), [(False, (37, 50), 16_650), (True, (38, 50), 17_100)])
def test_800_x_600_is_pooled_to_37_or_38_rows_by_a_forward_pass_through_five_blocks(
    ceil_pool: bool, size: tuple[int, int], anchors: int
) -> None:
    """Caffe's pooling layers, one channel wide: 600, 300, 150, 75, then 37 or 38; the last row is the 75th's own."""
    trunk = VGGTrunk(
        VGGShape(((1,),) * 5, batch_norm=False), TrunkSettings(frozen_stages=2, ceil_pool=ceil_pool)
    ).eval()
    with torch.no_grad():
        for name, weight in trunk.named_parameters():
            weight.zero_()
            if name.endswith("weight"):
                weight[0, 0, 1, 1] = 1  # the identity, so that only the poolings are left
        rows = torch.arange(1.0, 601).reshape(1, 1, 600, 1).expand(1, 3, 600, 800)
        (maps,) = trunk(rows.contiguous())
    assert maps.shape == (1, 1, *size)
    assert trunk.layout.sizes(600, 800) == (size,)
    assert len(AnchorGrid(16, (0.5, 1.0, 2.0), (8.0, 16.0, 32.0), trunk.layout)([size])) == anchors
    lasts = [min(16 * (row + 1), 600) for row in range(size[0])]
    assert maps[0, 0, :, 0].tolist() == maps[0, 0, :, -1].tolist() == lasts


@pytest.mark.long
@pytest.mark.parametrize(("ceil_pool", "size"), [(False, (37, 50)), (True, (38, 50))])
def test_800_x_600_is_pooled_to_37_or_38_rows_by_a_forward_pass_through_vgg16(
    ceil_pool: bool, size: tuple[int, int]
) -> None:
    """The same through all of VGG16: 16,650 or 17,100 anchors."""
    trunk = build_trunk("vgg16", frozen_stages=2, ceil_pool=ceil_pool).eval()
    with torch.inference_mode():
        assert trunk(torch.zeros(1, 3, 600, 800))[0].shape == (1, 512, *size)

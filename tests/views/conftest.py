"""A run of four images whose boxes, pixels and counts are chosen by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from pipeline.artifacts.anchor_targets import ANCHOR_IMAGES, FG_ANCHORS
from pipeline.artifacts.dataset_tables import DATASET_BOXES, DATASET_IMAGES
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.findings_table import FINDINGS
from pipeline.artifacts.history import write_csv
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import FEATURE_IMAGES
from pipeline.artifacts.proposal_targets import PROPOSAL_TARGETS
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_tables import RESIZED_BOXES, RESIZED_IMAGES
from pipeline.artifacts.shards import ShardWriter
from pipeline.artifacts.tables import TableWriter, box_columns, write_table
from pipeline.graphs.command import StageCommand
from pipeline.views.contact_sheet import Tile
from pipeline.views.panels.entries import entry_of
from pipeline.views.panels.registry import panels_of
from tests.defaults import write_default_params

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
del STAGES["code"]

Command = Callable[[str], StageCommand]
Drawn = Callable[[str, str], list[Tile]]

WIDTH, HEIGHT = 100, 80  # resized; the originals are twice as large
CLASSES = ["background", "ellipse", "triangle"]
SPLITS = {"a": "train", "b": "train", "c": "train", "t": "test"}
# Resized boxes: x1, y1, x2, y2, label, difficult. The images are black, with a white patch at the left of "a".
GT = {
    "a": [(10, 20, 40, 60, 1, False), (50, 10, 90, 30, 2, True)],
    "b": [],
    "c": [(0, 0, 50, 40, 2, False)],
    "t": [(20, 10, 60, 70, 1, False)],
}


def pixels_of(image_id: str) -> np.ndarray:
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    if image_id == "a":
        pixels[60:, :8] = 255
    return pixels


@pytest.fixture(scope="session")
def command() -> Command:
    """The command of a stage of dvc.yaml by its name."""
    return lambda stage: StageCommand.parse(STAGES[stage]["cmd"])


@pytest.fixture
def drawn(handmade: Path, command: Command) -> Drawn:
    """The panels, in brief, of a stage of the handmade run for an image."""
    return lambda stage, name: panels_of(command(stage), handmade, entry_of(command(stage), handmade, name), brief=True)


@pytest.fixture
def handmade(tmp_path: Path) -> Path:
    """The project folder of the run; a test may change it."""
    data = tmp_path / "data"
    (data / "raw").mkdir(parents=True)
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    write_default_params(tmp_path)
    _write_images(data)
    _write_targets(data)
    _write_features(data)
    with TableWriter(data / "detect_step4/detections.parquet", DETECTIONS) as table:
        boxes = np.array([[40, 20, 120, 140], [0, 0, 30, 30], [150, 100, 190, 150]])
        table.write({"image_id": "t", "label": [1, 2, 2], "score": [0.9, 0.5, 0.1], **box_columns(boxes)})
    write_csv(
        data / "train_rpn_step1/history.csv",
        [
            {"iteration": 2, "lr": 0.1, "loss": 2.5, "rpn_objectness": 2.0, "rpn_box": 0.5},
            {"iteration": 4, "lr": 0.2, "loss": 1.5, "rpn_objectness": 1.25, "rpn_box": 0.25},
        ],
    )
    return tmp_path


def _write_images(data: Path) -> None:
    for folder in ("dataset/images", "resize", "detect_step4", "train_rpn_step1"):
        (data / folder).mkdir(parents=True)
    for folder, scale in (("dataset", 2), ("resize", 1)):
        schema = DATASET_BOXES if folder == "dataset" else RESIZED_BOXES
        with TableWriter(data / folder / "boxes.parquet", schema) as table:
            for image_id, rows in GT.items():
                flags = {"label": [row[4] for row in rows], "difficult": [row[5] for row in rows]}
                boxes = np.array([row[:4] for row in rows]).reshape(-1, 4) * scale
                table.write({"image_id": image_id, "view": 0, **box_columns(boxes), **flags, "iscrowd": False})
        (data / folder / "classes.json").write_text(json.dumps(CLASSES))
    with TableWriter(data / "dataset/images.parquet", DATASET_IMAGES) as table:
        for image_id, split in SPLITS.items():
            original = cv2.resize(pixels_of(image_id), (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_NEAREST)
            cv2.imwrite(str(data / f"dataset/images/{image_id}.png"), original)
            file = f"dataset/images/{image_id}.png"
            size = {"width": 2 * WIDTH, "height": 2 * HEIGHT}
            table.write({"image_id": image_id, "split": split, "file": file, **size})
    findings = [
        ("f", 0, "inverted", "", "dropped"),
        ("f", 1, "zero_area", "", "dropped"),
        ("g", 0, "inverted", "", "dropped"),
    ]
    names = ("file", "object", "kind", "detail", "action")
    columns = dict(zip(names, zip(*findings, strict=True), strict=True))
    write_table(data / "dataset/findings.parquet", FINDINGS, columns)
    counts = {"inverted": {"dropped": 2}, "zero_area": {"dropped": 1}}
    (data / "dataset/metrics.json").write_text(json.dumps({"findings": counts}))
    with (
        TableWriter(data / "resize/images.parquet", RESIZED_IMAGES) as table,
        ShardWriter(data / "resize", "pixels") as shards,
    ):
        for image_id, split in SPLITS.items():
            sizes = {"width": WIDTH, "height": HEIGHT, "original_width": 2 * WIDTH, "original_height": 2 * HEIGHT}
            shard = shards.add({image_id: pixels_of(image_id)})
            scales = {"scale_x": 0.5, "scale_y": 0.5}
            table.write({"image_id": image_id, "view": 0, "split": split, **sizes, **scales, "shard": shard})


def _write_targets(data: Path) -> None:
    for folder in ("anchor_targets", "proposals_step1", "proposal_targets_step2"):
        (data / folder).mkdir()
    with (
        TableWriter(data / "anchor_targets/images.parquet", ANCHOR_IMAGES) as images,
        TableWriter(data / "anchor_targets/fg_anchors.parquet", FG_ANCHORS) as anchors,
        ShardWriter(data / "anchor_targets", "bg") as shards,
    ):
        for image_id in ("a", "b", "c"):
            bits = {Entry(image_id, int(mirrored)).name: np.packbits(np.ones(16, bool)) for mirrored in (False, True)}
            size = {"anchors": 16, "feature_height": 4, "feature_width": 4, "gt_boxes": 1}
            shard = shards.add(bits)
            for view in (0, 1):
                images.write({"image_id": image_id, "view": view, "shard": shard, **size})
        # The anchors of "a" are 20 px to the right of their gt box and as large; its mirror has one to the left.
        deltas = {"dx": -20 / 30, "dy": 0.0, "dw": 0.0, "dh": 0.0}
        own = {"anchor": [3, 5], "matched_gt": [0, 0], "max_iou": [0.7, 0.8]}
        anchors.write({"image_id": "a", "view": 0, **own, **deltas})
        own = {"anchor": [4], "matched_gt": [0], "max_iou": [0.7]}
        anchors.write({"image_id": "a", "view": 1, **own, **deltas, "dx": 20 / 30})
        own = {"anchor": [1, 2, 3], "matched_gt": [0] * 3, "max_iou": [0.7] * 3}
        anchors.write({"image_id": "c", "view": 0, **own, **deltas})
    with TableWriter(data / "proposals_step1/proposals.parquet", PROPOSALS) as table:
        # Of the two trainable gt boxes of plain images, one is reached with IoU .5: that of "a", by the second.
        boxes = np.array([[60, 40, 95, 75], [12, 20, 40, 60]])
        table.write(_proposals("a", False, boxes))
        table.write(_proposals("a", True, np.array([[5, 5, 45, 35]])))
        table.write(_proposals("c", False, np.array([[60, 40, 90, 70]])))
        table.write(_proposals("c", True, np.array([[50, 0, 100, 40]])))
    content = {"classes": CLASSES, "mean": [[0.0] * 4] * 3, "std": [[1.0] * 4] * 3}
    (data / "proposal_targets_step2/normalisation.json").write_text(json.dumps(content))
    with TableWriter(data / "proposal_targets_step2/proposal_targets.parquet", PROPOSAL_TARGETS) as table:
        deltas = {"dx": 0.0, "dy": 0.0, "dw": 0.0, "dh": 0.0, "max_iou": 0.5, "matched_gt": 0}
        boxes = np.array([[60, 40, 95, 75], [15, 25, 45, 65], [50, 5, 70, 25], [10, 20, 40, 60]])
        own = {"rank": [0, 1, 2, -1], "label": [0, 1, -1, 1], **box_columns(boxes)}
        table.write({"image_id": "a", "view": 0, **own, **deltas})
        own = {"rank": [0, -1], "label": [0, 1], **box_columns(boxes[:2])}
        table.write({"image_id": "a", "view": 1, **own, **deltas})


def _proposals(image_id: str, mirrored: bool, boxes: np.ndarray) -> dict[str, object]:
    scores = np.linspace(0.9, 0.8, len(boxes))
    own = {"rank": np.arange(len(boxes)), "score": scores, **box_columns(boxes)}
    return {"image_id": image_id, "view": int(mirrored), **own}


def _write_features(data: Path) -> None:
    (data / "features").mkdir()
    with (
        TableWriter(data / "features/images.parquet", FEATURE_IMAGES) as table,
        ShardWriter(data / "features", "maps") as shards,
    ):
        for image_id in ("a", "b", "c"):
            feature_map = np.zeros((3, 4, 5), dtype=np.float16)
            feature_map[:, 3, 0] = 2.0
            members = {Entry(image_id, int(mirrored)).name: feature_map for mirrored in (False, True)}
            members[Entry(image_id, 1).name] = feature_map[:, :, ::-1]
            shard = shards.add(members)
            size = {"width": WIDTH, "height": HEIGHT, "feature_height": 4, "feature_width": 5, "shard": shard}
            for mirrored in (False, True):
                table.write({"image_id": image_id, "view": int(mirrored), **size})

"""Difficult boxes take no part in training and are ignored in evaluation (Faster R-CNN's recipe, VOC's devkit)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.dataset_tables import DATASET_BOXES
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.proposal_targets import PROPOSAL_TARGETS
from pipeline.artifacts.proposals import PROPOSALS
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.resized_tables import RESIZED_BOXES
from pipeline.artifacts.tables import Columns, TableWriter, read_columns, write_table
from tests.conftest import Project
from tests.fidelity.conftest import RunByHand, barely_trained, files_of, with_rows

pytestmark = pytest.mark.authority("the papers and the VOC devkit")


def row_of(rows: Columns, image_ids: set[str]) -> int:
    """The first box of the first of these images that has at least two."""
    for i, image_id in enumerate(rows["image_id"]):
        if image_id in image_ids and (rows["image_id"] == image_id).sum() >= 2:
            return i
    raise AssertionError("no image with two boxes")


def flagged(run: Project, stage: str, split: str, flag: str) -> Callable[[Columns], None]:
    """Marks one box of a table of boxes."""
    ids = {image.image_id for image in ResizedImages(run.data / "resize", split)}

    def change(rows: Columns) -> None:
        rows[flag] = rows[flag].copy()
        rows[flag][row_of(rows, ids)] = True

    return change


def removed(run: Project, split: str) -> Callable[[Columns], np.ndarray]:
    """Takes the same box away."""
    ids = {image.image_id for image in ResizedImages(run.data / "resize", split)}
    return lambda rows: np.arange(len(rows["image_id"])) != row_of(rows, ids)


def test_training_with_a_difficult_box_is_training_without_it(
    tiny_run: Project, by_hand: RunByHand, tmp_path: Path
) -> None:
    """py-faster-rcnn leaves difficult objects out of the roidb: no anchor, no RoI and no candidate comes from them.

    Anchor targets, proposal targets and a joint network are equal to the last byte; with the box as it was, none is.
    """
    resized = tiny_run.data / "resize"
    change = flagged(tiny_run, "resize", "train", "difficult")
    folders = {
        "marked": with_rows(resized, tmp_path / "marked", "boxes.parquet", change),
        "removed": with_rows(resized, tmp_path / "removed", "boxes.parquet", removed(tiny_run, "train")),
        "kept": resized,
    }
    rows = read_columns(folders["marked"] / "boxes.parquet", RESIZED_BOXES)
    assert rows["difficult"].sum() == 1
    written: dict[str, list[dict[str, bytes]]] = {}
    for name, folder in folders.items():
        anchors = by_hand("anchor_targets", resize=folder)
        joint = barely_trained("finetune_joint", iterations=12, lr=0.01)  # an epoch
        written[name] = [
            files_of(anchors),
            files_of(by_hand("proposal_targets_step2", resize=folder)),
            files_of(by_hand("finetune_joint", joint, resize=folder, anchor_targets=anchors)),
        ]
    # Not as one comparison: pytest would spend minutes on showing where megabytes differ.
    assert all(mine == without for mine, without in zip(written["marked"], written["removed"], strict=True))
    assert all(mine != kept for mine, kept in zip(written["marked"], written["kept"], strict=True))


def test_a_difficult_box_is_no_appended_candidate(tiny_run: Project, by_hand: RunByHand, tmp_path: Path) -> None:
    change = flagged(tiny_run, "resize", "train", "difficult")
    resize = with_rows(tiny_run.data / "resize", tmp_path / "marked", "boxes.parquet", change)
    boxes = read_columns(resize / "boxes.parquet", RESIZED_BOXES)
    image_id = boxes["image_id"][boxes["difficult"]][0]
    own = boxes["image_id"] == image_id
    table = by_hand("proposal_targets_step2", resize=resize) / "proposal_targets.parquet"
    rows = read_columns(table, PROPOSAL_TARGETS)
    appended = (rows["rank"] == -1) & (rows["image_id"] == image_id) & (rows["view"] == 0)
    assert rows["x1"][appended].tolist() == boxes["x1"][own & ~boxes["difficult"]].tolist()
    assert appended.sum() == own.sum() - 1 >= 1


def test_resizing_keeps_the_flags(tiny_run: Project, by_hand: RunByHand, tmp_path: Path) -> None:
    change = flagged(tiny_run, "dataset", "train", "difficult")
    dataset = with_rows(tiny_run.data / "dataset", tmp_path / "dataset", "boxes.parquet", change)
    before = read_columns(dataset / "boxes.parquet", DATASET_BOXES)
    after = read_columns(by_hand("resize", dataset=dataset) / "boxes.parquet", RESIZED_BOXES)
    assert after["difficult"].tolist() == before["difficult"].tolist()
    assert after["difficult"].sum() == 1


@pytest.mark.parametrize("found", [True, False], ids=["found", "missed"])
@pytest.mark.parametrize("difficult", [True, False], ids=["difficult", "ordinary"])
def test_a_difficult_box_is_neither_to_be_found_nor_wrong_to_find(
    tiny_run: Project, by_hand: RunByHand, tmp_path: Path, difficult: bool, found: bool
) -> None:
    """VOC's devkit (VOCevaldet.m): not counted among the positives, its detection neither true nor false.

    Every other box is found exactly, and the box in question with the best score of all: mAP is 1, unless it is an
    ordinary box that was missed.
    """
    change = flagged(tiny_run, "dataset", "test", "difficult") if difficult else (lambda _: None)
    dataset = with_rows(tiny_run.data / "dataset", tmp_path / "dataset", "boxes.parquet", change)
    test_ids = {image.image_id for image in ResizedImages(tiny_run.data / "resize", "test")}
    rows = read_columns(dataset / "boxes.parquet", DATASET_BOXES)
    judged = row_of(rows, test_ids)
    taken = [i for i, name in enumerate(rows["image_id"]) if name in test_ids and (found or i != judged)]
    detections = tmp_path / "detections"
    detections.mkdir()
    columns = {name: rows[name][taken] for name in ("image_id", "label", "x1", "y1", "x2", "y2")}
    columns["score"] = np.where(np.array(taken) == judged, 0.99, 0.5)
    write_table(detections / "detections.parquet", DETECTIONS, columns)
    with TableWriter(detections / "proposals.parquet", PROPOSALS):
        pass  # none: this test is of the detections
    write_manifest(detections, "detect_step4")
    folder = by_hand("evaluate_step4", dataset=dataset, detections=detections)
    metrics = json.loads((folder / "metrics.json").read_text())
    perfect = difficult or found
    for name in ("mAP50", "mAP50_11point", "AP50", "AP"):
        assert (metrics[name] == 1) == perfect, name

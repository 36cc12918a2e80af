"""Pictures and figures of a run that has val images: detect stages work on val and test alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.dataset_tables import DATASET_IMAGES
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.resized_tables import RESIZED_IMAGES
from pipeline.artifacts.tables import TableWriter, box_columns, read_columns, write_table
from pipeline.runtime.errors import InputError
from pipeline.views.metrics import metrics_of
from pipeline.views.panels.entries import entry_of, first_entries
from pipeline.views.panels.registry import panels_of
from tests.views.conftest import Command


@pytest.fixture
def with_val(handmade: Path) -> Path:
    """The run with its training image "c" turned into a val image, in which one thing is detected."""
    for schema, path in ((DATASET_IMAGES, "dataset"), (RESIZED_IMAGES, "resize")):
        columns = read_columns(handmade / f"data/{path}/images.parquet", schema)
        columns["split"] = np.where(columns["image_id"] == "c", "val", columns["split"])
        write_table(handmade / f"data/{path}/images.parquet", schema, columns)
    with TableWriter(handmade / "data/detect_step4/detections.parquet", DETECTIONS) as table:
        table.write({"image_id": "c", "label": [2], "score": [0.9], **box_columns(np.array([[0, 0, 100, 80]]))})
        table.write({"image_id": "t", "label": [1, 2], "score": [0.9, 0.1], **box_columns(np.zeros((2, 4)))})
    return handmade


def test_detections_are_shown_in_test_images_and_in_val_images_by_name(with_val: Path, command: Command) -> None:
    detect = command("detect_step4")
    [first] = first_entries(detect, with_val, 4)
    for entry, caption in (
        (first, "t, test: 1 gt box, 1 missed"),
        (entry_of(detect, with_val, "c"), "c, val: 1 gt box"),
    ):
        assert panels_of(detect, with_val, entry, brief=True)[0].caption.startswith(caption)
    with pytest.raises(InputError, match="'a' is a train image; detect_step4 works on test and val: 2 images"):
        entry_of(detect, with_val, "a")
    with pytest.raises(InputError, match="'c' is a val image; anchor_targets works on train: 2 images"):
        entry_of(command("anchor_targets"), with_val, "c")


def test_figures_of_val_stand_beside_those_of_test(with_val: Path, command: Command) -> None:
    assert metrics_of(command("detect_step4"), with_val) == {
        "val_images": 1,
        "val_detections_per_image": 1,
        "test_images": 1,
        "test_detections_per_image": 2,
    }
    figures = metrics_of(command("dataset"), with_val)
    assert [figures[f"{split}_images"] for split in ("train", "val", "test")] == [2, 1, 1]
    assert [figures[f"{split}_boxes"] for split in ("train", "val", "test")] == [2, 1, 1]

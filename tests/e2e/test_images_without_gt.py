"""Training images without objects, from the table that lists them to the weights, as `rpn.images_without_gt` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.proposal_targets import PROPOSAL_TARGETS
from pipeline.artifacts.resized_tables import RESIZED_BOXES
from pipeline.artifacts.tables import read_columns, write_table
from pipeline.feeding.views import ImageViews
from pipeline.runtime.errors import InputError
from tests.conftest import TINY, Project, new_project
from tests.in_process import run_stages

FULL, EMPTY = ("car0", "car1"), ("road0", "road1")
BEFORE = ("dataset", "backbone", "resize", "frozen_features", "anchor_targets")
HEAD = ("proposals_step1", "proposal_targets_step2", "train_head_step2")


def project_of(root: Path, images: tuple[str, ...], handling: str, per_iteration: int = 1) -> Project:
    """A table of training images, those named road without objects, and a test image."""
    schedule = {"iterations": 4, "images_per_iteration": per_iteration, "lr_drop_at": []}
    changes: dict[str, Any] = {
        "base": {**TINY["base"], "mirror": False},
        "dataset": {"reader": "table"},
        "backbone": {"weights": "random"},
        "rpn": {"images_without_gt": handling},
        **dict.fromkeys(("train_rpn_step1", "train_head_step2"), schedule),
    }
    project = new_project(root, {**TINY, **changes})
    rng = np.random.default_rng(0)
    lines = ["file,split,class,x1,y1,x2,y2"]
    for name in (*images, "test"):
        cv2.imwrite(str(project.data / f"raw/{name}.png"), rng.integers(0, 255, (192, 192, 3), np.uint8))
        split = "test" if name == "test" else "train"
        lines.append(f"{name}.png,{split}," + (",,,," if name in EMPTY else "car,40,50,120,130"))
    (project.data / "raw/boxes.csv").write_text("\n".join(lines) + "\n")
    return project


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The ids of the images whose pixels were loaded to train on."""
    ids: set[str] = set()
    load = ImageViews.load

    def noting(self: ImageViews, entries: Any) -> Any:
        ids.update(entry.image_id for entry in entries)
        return load(self, entries)

    monkeypatch.setattr(ImageViews, "load", noting)
    return ids


def weights(project: Project, stage: str) -> bytes:
    return (project.data / stage / "model.safetensors").read_bytes()


def test_background_trains_the_rpn_on_them_and_drop_does_not_but_the_head_sees_them(
    tmp_path: Path, seen: set[str]
) -> None:
    trained = {}
    for handling, images in (("background", FULL + EMPTY), ("drop", FULL + EMPTY), ("background", FULL)):
        project = project_of(tmp_path / f"{handling}{len(images)}", images, handling)
        run_stages(project.root, *BEFORE)
        seen.clear()
        run_stages(project.root, "train_rpn_step1")
        assert seen == set(images if handling == "background" else FULL)
        trained[handling, len(images)] = project
    rpn = {key: weights(project, "train_rpn_step1") for key, project in trained.items()}
    assert rpn["drop", 4] == rpn["background", 2] != rpn["background", 4]

    dropped = trained["drop", 4]
    seen.clear()
    run_stages(dropped.root, *HEAD)
    assert seen == {*FULL, *EMPTY}
    rows = read_columns(dropped.data / "proposal_targets_step2/proposal_targets.parquet", PROPOSAL_TARGETS)
    of_empty = np.isin(rows["image_id"], EMPTY)
    assert set(rows["image_id"][of_empty]) == set(EMPTY)
    assert set(rows["label"][of_empty].tolist()) == {0} and (rows["label"][~of_empty] == 1).any()


def test_where_drop_leaves_nothing_or_too_little_the_error_names_it(tmp_path: Path) -> None:
    none = project_of(tmp_path / "none", FULL + EMPTY, "drop")
    run_stages(none.root, *BEFORE[:-1])
    # The dataset stage refuses such a data set; a folder put in place of resize's may still be of one.
    resize = none.data / "resize"
    rows = read_columns(resize / "boxes.parquet", RESIZED_BOXES)
    write_table(resize / "boxes.parquet", RESIZED_BOXES, {name: values[:0] for name, values in rows.items()})
    write_manifest(resize, "resize")
    run_stages(none.root, BEFORE[-1])
    with pytest.raises(InputError) as caught:
        run_stages(none.root, "train_rpn_step1")
    assert str(caught.value) == (
        "none of 4 training images has a gt box to train on, and rpn.images_without_gt is drop; "
        "label some, or set it to background"
    )
    few = project_of(tmp_path / "few", FULL + EMPTY, "drop", per_iteration=3)
    run_stages(few.root, *BEFORE)
    with pytest.raises(InputError) as caught:
        run_stages(few.root, "train_rpn_step1")
    assert str(caught.value) == (
        "2 of 4 training images have a gt box to train on, rpn.images_without_gt drops the others, and "
        "train_rpn_step1.images_per_iteration is 3; lower that, or set rpn.images_without_gt to background"
    )

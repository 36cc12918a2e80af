"""Pictures of stages: the panels of a few images on a sheet, without torch, and equal each time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.artifacts.anchor_targets import FG_ANCHORS
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.image_views import Entry
from pipeline.artifacts.maps import FEATURE_IMAGES
from pipeline.artifacts.tables import TableWriter
from pipeline.graphs.command import StageCommand
from pipeline.runtime.errors import InputError
from pipeline.views.contact_sheet import Tile, contact_sheet
from pipeline.views.encoding import MAX_BYTES, Picture, encode_webp
from pipeline.views.panels.entries import first_entries
from pipeline.views.pictures import picture_of
from tests.conftest import Project
from tests.views.conftest import ROOT, STAGES, Command, Drawn


def test_stage_that_keeps_no_maps_shows_the_images(handmade: Path, command: Command, drawn: Drawn) -> None:
    with TableWriter(handmade / "data/features/images.parquet", FEATURE_IMAGES):
        pass
    (tile,) = drawn("features", "a")
    assert tile.caption == "a: features keeps no maps, images are read"
    assert picture_of(command("features"), handmade)


@pytest.mark.parametrize(
    ("stage", "names"),
    [
        ("dataset", "acb"),
        ("resize", "acb"),
        ("anchor_targets", "acb"),
        ("proposals_step1", "ac"),
        ("proposal_targets_step2", "ac"),
        ("features", "ac"),
        ("detect_step4", "t"),
    ],
)
def test_picture_is_a_sheet_of_the_panels_of_a_few_images(
    handmade: Path, command: Command, drawn: Drawn, monkeypatch: pytest.MonkeyPatch, stage: str, names: str
) -> None:
    sheets: list[np.ndarray] = []

    def noting(image: np.ndarray, *rest: Any) -> Picture:
        sheets.append(image)
        return encode_webp(image, *rest)

    monkeypatch.setattr("pipeline.views.gallery.encode_webp", noting)
    picture = picture_of(command(stage), handmade)
    assert picture is not None and f"frcnn inspect {stage} --image ID" in picture.caption
    assert np.array_equal(sheets[0], contact_sheet([tile for name in names for tile in drawn(stage, name)]))


@pytest.mark.parametrize(("panels", "images"), [(1, 3), (2, 2), (3, 2), (4, 1), (6, 1)])
def test_a_sheet_holds_whole_images(
    handmade: Path, command: Command, monkeypatch: pytest.MonkeyPatch, panels: int, images: int
) -> None:
    """However many panels one has: a trunk of several levels has a map of each."""
    shown: list[Entry] = []

    def noting(own: StageCommand, root: Path, entry: Entry, **rest: Any) -> list[Tile]:
        shown.append(entry)
        return [Tile(np.zeros((8, 8, 3), np.uint8), "")] * panels

    monkeypatch.setattr("pipeline.views.gallery.panels_of", noting)
    assert picture_of(command("features"), handmade)
    assert shown == [Entry("a"), Entry("c"), Entry("b")][:images]


def test_detections_of_a_picture_are_those_that_the_evaluation_counts(
    handmade: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = handmade / "params.yaml"
    params.write_text(params.read_text().replace("confusion_score: 0.5", "confusion_score: 0.1"))
    captions: list[str] = []

    def noting(tiles: list[Tile]) -> np.ndarray:
        captions.extend(tile.caption for tile in tiles)
        return contact_sheet(tiles)

    monkeypatch.setattr("pipeline.views.gallery.contact_sheet", noting)
    picture_of(command("detect_step4"), handmade)
    assert "3 of 3 detections, score at least 0.1" in captions[-1]


def test_images_with_gt_boxes_come_first(handmade: Path, command: Command) -> None:
    for stage in ("dataset", "resize"):
        assert first_entries(command(stage), handmade, 2) == [Entry("a"), Entry("c")]
        assert first_entries(command(stage), handmade, 5) == [Entry("a"), Entry("c"), Entry("b")]
    assert first_entries(command("detect_step4"), handmade, 5) == [Entry("t")]


def test_stage_that_found_nothing_is_drawn(handmade: Path, command: Command, drawn: Drawn) -> None:
    with TableWriter(handmade / "data/detect_step4/detections.parquet", DETECTIONS):
        pass
    assert "0 of 0 detections" in drawn("detect_step4", "t")[-1].caption
    assert picture_of(command("detect_step4"), handmade)


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("dataset", "dataset/images/a.png"),
        ("dataset", "dataset/classes.json"),
        ("backbone", "backbone/model.safetensors"),
        ("resize", "resize/pixels-00000.npz"),
        ("anchor_targets", "anchor_targets/bg-00000.npz"),
        ("anchor_targets", "resize/images.parquet"),
        ("proposals_step1", "proposals_step1/proposals.parquet"),
        ("proposal_targets_step2", "proposal_targets_step2/proposal_targets.parquet"),
        ("features", "features/maps-00000.npz"),
        ("train_rpn_step1", "train_rpn_step1/history.csv"),
        ("detect_step4", "detect_step4/detections.parquet"),
        ("evaluate_step4", "evaluate_step4/pr_curves.csv"),
    ],
)
def test_missing_and_damaged_files_are_told_in_one_line(
    handmade: Path, command: Command, stage: str, missing: str
) -> None:
    path = handmade / "data" / missing
    path.unlink(missing_ok=True)
    with pytest.raises(InputError, match=path.name) as caught:
        picture_of(command(stage), handmade)
    assert "\n" not in str(caught.value)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\xffnothing of the kind")
    with pytest.raises(InputError, match=path.name):
        picture_of(command(stage), handmade)


def test_targets_of_another_run_are_told(handmade: Path, command: Command) -> None:
    own = {"anchor": 1, "matched_gt": 7, "max_iou": 0.7, "dx": 0.0, "dy": 0.0, "dw": 0.0, "dh": 0.0}
    with TableWriter(handmade / "data/anchor_targets/fg_anchors.parquet", FG_ANCHORS) as table:
        table.write({"image_id": "a", "view": 0, **own})
    with pytest.raises(InputError, match="other images"):
        picture_of(command("anchor_targets"), handmade)


def test_unknown_module_has_no_picture(handmade: Path) -> None:
    assert picture_of(StageCommand.parse("python -m stages.other --params base --out data/other"), handmade) is None


@pytest.fixture(scope="module")
def pictures(tiny_run: Project) -> dict[str, Picture | None]:
    """Those of the tiny run, by stage."""
    return {name: picture_of(StageCommand.parse(stage["cmd"]), tiny_run.root) for name, stage in STAGES.items()}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_a_picture(pictures: dict[str, Picture | None], stage: str) -> None:
    picture = pictures[stage]
    assert picture is not None
    pixels = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None and pixels.shape[0] >= 200 and len(picture.data) <= MAX_BYTES
    assert picture.data.startswith({"image/png": b"\x89PNG", "image/webp": b"RIFF"}[picture.mime])
    assert stage in picture.caption


_WITHOUT_TORCH = """
import hashlib, sys
from pathlib import Path
import yaml
from pipeline.graphs.command import StageCommand
from pipeline.views.metrics import metrics_of
from pipeline.views.pictures import picture_of
import pipeline.views.results
assert "altair" not in sys.modules
for name, stage in yaml.safe_load(Path("dvc.yaml").read_text())["stages"].items():
    if name == "code":
        continue
    command = StageCommand.parse(stage["cmd"])
    assert metrics_of(command, Path("."))
    print(hashlib.sha256(picture_of(command, Path(".")).data).hexdigest())
for name in ("torch", "torchvision", "matplotlib", "stages"):
    assert name not in sys.modules, name
"""


def test_pictures_need_no_torch_and_are_equal_in_another_process(
    tiny_run: Project, pictures: dict[str, Picture | None]
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH],
        cwd=tiny_run.root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    digests = [hashlib.sha256(picture.data).hexdigest() for picture in pictures.values() if picture]
    assert result.stdout.split() == digests

"""From a folder as a tool exports it to what trains, by the commands of docs/data.md, for each kind of data."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifacts.dataset_tables import DATASET_BOXES
from pipeline.artifacts.resized_tables import RESIZED_IMAGES
from pipeline.artifacts.tables import read_columns
from pipeline.params.file import load_params
from tests.data_layouts.public import PUBLIC
from tests.defaults import copy_graphs
from tests.in_process import run_frcnn, run_stage

ROOT = Path(__file__).resolve().parents[2]
TAKEN = {
    "VOC of Roboflow": "reader voc, VOC with a folder a split: train train/, val valid/, test test/, annotations .",
    "COCO of Roboflow": "reader coco, COCO with a JSON file a split: train train/_annotations.coco.json, val valid/",
    "YOLO of Roboflow": "reader yolo, YOLO by its data.yaml: train train/images, val valid/images, test test/images",
    "CSV": "reader table, a table, labels.csv, with a column of splits: train train, val val, test test",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project before any command; no picture is drawn in it, which takes seconds."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    copy_graphs(folder)
    monkeypatch.setattr("pipeline.preflight.command._draw", lambda *arguments: None)
    return folder


@pytest.mark.parametrize("name", TAKEN)
def test_two_commands_lead_to_what_trains(name: str, project: Path) -> None:
    root = project.parent / "exported"
    PUBLIC[name].write(root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    ended = run_frcnn(project, "preset", "default", f"dataset.root={root}")
    assert ended.returncode == 0, ended.stderr
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("dataset: ")]
    assert TAKEN[name] in line
    params = load_params(project / "params.yaml").dataset
    assert params.reader == PUBLIC[name].reader  # which says it in full: nothing is found anew in a run
    ended = run_frcnn(project, "check-data", "--quick")
    assert ended.returncode == 0 and "nothing here would stop a run" in ended.stdout, ended.stdout
    run_stage("dataset", project)
    run_stage("resize", project)
    boxes = read_columns(project / "data/dataset/boxes.parquet", DATASET_BOXES)
    assert len(boxes["label"]) == 6
    assert len(read_columns(project / "data/resize/images.parquet", RESIZED_IMAGES)["image_id"]) >= 5
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before  # no file of the user's changed


def test_the_docs_show_these_layouts_and_their_command_first() -> None:
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    table = text[: text.index("## ")]
    for word in ("Roboflow", "CVAT", "Ultralytics", "darknet", "VOC", "COCO", "YOLO", "CSV"):
        assert word in table
    assert table.count("frcnn preset default dataset.root=PATH") == 2 and table.index("make repro") < 400

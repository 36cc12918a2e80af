"""Data that have splits of their own, divided by `dataset.split`: a line says which images are in no split then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.datasets.reading import read_dataset
from pipeline.params.dataset import DatasetParams
from tests.conftest import apply_overlay
from tests.datasets.splitting.undivided import KINDS, NAMES, overlay, plant
from tests.defaults import copy_graphs, default_content, write_default_params
from tests.in_process import run_frcnn, run_stage

OWN: Mapping[str, Mapping[str, list[str]]] = {
    "voc": {"train": ["trainval"], "val": ["dev"], "test": ["test"]},
    "coco": {"train": ["a.json"], "val": ["b.json"], "test": ["c.json"]},
    "kitti": {"train": ["train"], "val": ["val"], "test": ["held"]},
    "yolo": {"train": ["a.txt"], "val": ["b.txt"], "test": ["c.txt"]},
    "table": {"train": ["train"], "val": ["val"], "test": ["test"]},
}
SPLIT_OF = {name: "train" if index < 5 else "val" if index < 7 else "test" for index, name in enumerate(NAMES)}


def plant_divided(kind: str, root: Path) -> None:
    """The data set of a kind with lists: 5 images of train, 2 of val, 3 of test."""
    plant(kind, root)
    listed = {split: [name for name in NAMES if SPLIT_OF[name] == split] for split in OWN[kind]}
    for split, (place,) in OWN[kind].items():
        lines = [f"images/{name}.png" if kind == "yolo" else name for name in listed[split]]
        match kind:
            case "voc":
                (root / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
                (root / f"ImageSets/Main/{place}.txt").write_text("\n".join(lines) + "\n")
            case "kitti":
                (root / f"{place}.txt").write_text("\n".join(lines) + "\n")
            case "yolo":
                (root / place).write_text("\n".join(lines) + "\n")
            case "coco":
                content = json.loads((root / "annotations/all.json").read_text())
                keep = {number for number, name in enumerate(NAMES) if name in lines}
                content["images"] = [own for own in content["images"] if own["id"] in keep]
                content["annotations"] = [own for own in content["annotations"] if own["image_id"] in keep]
                (root / place).write_text(json.dumps(content))
            case _:
                pass
    if kind == "table":
        header, *rows = (root / "boxes.csv").read_text().splitlines()
        own = [f"{row},{SPLIT_OF[row.partition('.')[0]]}" for row in rows]
        (root / "boxes.csv").write_text("\n".join([f"{header},split", *own]) + "\n")


def own_params(kind: str, train: list[str] | None = None, **split: Any) -> DatasetParams:
    return DatasetParams.model_validate(
        apply_overlay(default_content(), {"dataset": own_overlay(kind, train, **split)})["dataset"]
    )


def own_overlay(kind: str, train: list[str] | None = None, **split: Any) -> dict[str, Any]:
    changed = overlay(kind, **split)
    images = {"images": "all"} if kind == "coco" else {}
    changed[kind] = {**changed[kind], **OWN[kind], **images, **({"train": train} if train else {})}
    return changed


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_splits_whose_place_is_taken_are_told(tmp_path: Path, kind: str) -> None:
    plant_divided(kind, tmp_path)
    places = [place for own in OWN[kind].values() for place in own]
    dataset = read_dataset(tmp_path, own_params(kind, val=0.2, test=0.2))
    (line,) = [line for line in dataset.remarks if "in no split" in line]
    assert line == (
        f"5 images of the data's own val and test ({places[1]}, {places[2]}) are in no split: to divide them too set "
        f"dataset.{kind}.train to [{', '.join(places)}], to keep their split set dataset.split.val and "
        "dataset.split.test to null"
    )
    assert len(list(dataset.images)) == 5
    (line,) = [
        line for line in read_dataset(tmp_path, own_params(kind, val=0.2)).remarks if "in no split" in line
    ]  # test is kept
    assert line.startswith(f"2 images of the data's own val ({places[1]}) are in no split")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_told_where_all_images_are_divided_or_there_are_no_others(tmp_path: Path, kind: str) -> None:
    plant_divided(kind, tmp_path)
    every = [place for own in OWN[kind].values() for place in own]
    dataset = read_dataset(tmp_path, own_params(kind, every, val=0.2, test=0.2))
    assert not any("in no split" in line for line in dataset.remarks) and len(list(dataset.images)) == 10


def test_the_stage_check_data_and_split_print_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.preflight.command._draw", lambda *arguments: None)
    project = tmp_path / "project"
    project.mkdir()
    plant_divided("voc", tmp_path / "set")
    copy_graphs(project)
    write_default_params(project)
    expected = "5 images of the data's own val and test (val, test) are in no split"
    (tmp_path / "set/ImageSets/Main/dev.txt").rename(tmp_path / "set/ImageSets/Main/val.txt")
    (tmp_path / "set/ImageSets/Main/trainval.txt").rename(tmp_path / "set/ImageSets/Main/train.txt")
    ended = run_frcnn(
        project, "preset", "default", f"dataset.root={tmp_path / 'set'}", "dataset.split={val: .2, test: .2}"
    )
    assert ended.returncode == 0, ended.stderr
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("dataset: ")]
    assert "train train, annotations" in line and line.endswith("val and test by dataset.split")
    monkeypatch.chdir(project)
    ended = run_frcnn(project, "check-data", "--quick")
    assert expected in ended.stdout
    run_stage("dataset", project)
    assert expected in capsys.readouterr().err
    ended = run_frcnn(project, "split")
    assert expected in ended.stdout

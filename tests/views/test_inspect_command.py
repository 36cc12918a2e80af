"""`frcnn inspect`: which artifact a name means, its figures, the worst images, and faults in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline import cli
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.tables import TableWriter, box_columns
from pipeline.runtime.errors import InputError
from pipeline.views.inspect.command import inspect_artifact
from pipeline.views.inspect.file_summaries import csv_lines, json_lines
from pipeline.views.inspect.npz_summary import layouts_of
from pipeline.views.inspect.parquet_summary import parquet_lines
from pipeline.views.inspect.text import number_text, size_text
from tests.views.scene import feature_map, write_scene

if TYPE_CHECKING:
    from tests.conftest import Project

Told = Callable[..., list[str]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def scene(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change, and the working directory."""
    shutil.copytree(written, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    return tmp_path / "run"


def told(name: str, image: str | None = None, out: Path | None = None, score: float = 0.5, first: int | None = None):
    lines: list[str] = []
    inspect_artifact(Path(), name, image, out, score, first, lines.append)
    return lines


def row_of(lines: list[str], column: str) -> str:
    return next(line for line in lines if line.strip().startswith(column + " "))


def test_a_stage_its_folder_and_a_file_in_it_are_the_same_stage(scene: Path) -> None:
    by_name, by_folder = told("anchor_targets"), told("data/anchor_targets")
    by_path, by_file = told(str(scene / "data/anchor_targets")), told("data/anchor_targets/fg_anchors.parquet")
    assert by_name == by_folder == by_path
    assert by_name[0] == by_file[0] == "anchor_targets: Assign fg, bg and ignored anchors to gt boxes"
    assert "--resize data/resize" in by_name[1]
    assert any(line.startswith("images.parquet") for line in by_name)
    assert not any(line.startswith("images.parquet") for line in by_file)


def test_figures_of_a_table_are_those_of_its_values(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    path, scores = tmp_path / "detections.parquet", []
    with TableWriter(path, DETECTIONS) as table:
        for place in range(200):
            score = draw.random(3).astype(np.float32)
            scores.append(score)
            boxes = draw.uniform(0, 90, (3, 4))
            label = [1, 2, 2] if place else [1, 1, 1]
            table.write({"image_id": f"i{place:03d}", "label": label, "score": score, **box_columns(boxes)})
    lines = list(parquet_lines(path, ["background", "cat", "dog"]))
    values = np.concatenate(scores)
    assert "600 rows, 4 row groups" in lines[0]
    assert "200 images, i000 to i199; 3 rows each" in row_of(lines, "image_id")
    assert "2 (dog) 398, 1 (cat) 202" in row_of(lines, "label")
    shown = row_of(lines, "score")
    assert "float32" in shown and "probability, 0..1" in shown
    for figure in (values.min(), values.mean(), values.max()):
        assert number_text(float(figure)) in shown


def test_a_table_without_statistics_is_read(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array([1.5, None, 4.0]), "name": ["a", "b", "b"], "flag": [True, False, True]})
    pq.write_table(table, tmp_path / "t.parquet", write_statistics=False)
    lines = list(parquet_lines(tmp_path / "t.parquet"))
    assert row_of(lines, "x").split() == ["x", "float64", "1.5", "2.75", "4", "1"]
    assert "b 2, a 1" in row_of(lines, "name") and "yes 2, no 1" in row_of(lines, "flag")
    pq.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    assert "0 rows" in next(iter(parquet_lines(tmp_path / "empty.parquet")))


def test_shards_are_told_by_their_headers(scene: Path) -> None:
    lines = told("features")
    assert any("1 shard, 4 members" in line for line in lines)
    assert any("float16  (16, 8, 12)  4 arrays" in line for line in lines)
    layouts = layouts_of(scene / "data/features/maps-00000.npz")
    assert layouts["a.mirrored"] == ("float16", feature_map().shape)
    assert told("data/features/maps-00000.npz")[3:]


def test_json_and_csv_files_are_told(scene: Path, tmp_path: Path) -> None:
    lines = told("proposal_targets_step4")
    assert "[background, ellipse, triangle]" in row_of(lines, "classes")
    assert "3 x 4 numbers, 0.1 to 0.2" in row_of(lines, "std")
    path = tmp_path / "found.json"
    path.write_text(json.dumps([{"score": 0.5, "bbox": [1, 2, 3, 4]}, {"score": 0.25, "bbox": [5, 6, 7, 8]}]))
    lines = list(json_lines(path, asked_for=True))
    assert "list of 2 objects" in lines[0] and "2 x 4 numbers, 1 to 8" in row_of(lines, "bbox")
    (tmp_path / "h.csv").write_text("class,loss\ncat,1.5\ncat,0.5\n")
    lines = list(csv_lines(tmp_path / "h.csv"))
    assert "cat 2" in row_of(lines, "class") and "0.5 to 1.5" in row_of(lines, "loss")


def test_every_stage_of_a_run_is_told(tiny_run: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tiny_run.root)
    for folder in sorted((tiny_run.root / "data").iterdir()):
        if folder.is_dir() and folder.name not in ("raw", "weights", "initial_detector", "external_proposals"):
            assert len(told(folder.name)) > 3, folder.name
    lines = told("data/finetune_joint/model.safetensors")
    assert row_of(lines, "rpn.cls_score.bias").split()[1:] == ["(24,)", "F32"]
    assert {"trunk", "rpn", "head"} <= {line.split()[0] for line in lines if line.strip()}
    for stage in ("train_rpn_step1", "backbone"):
        assert told(stage, out=tmp_path / f"{stage}.png") == [f"picture: {tmp_path / stage}.png"]
        assert (tmp_path / f"{stage}.png").read_bytes().startswith(b"\x89PNG")


def test_worst_images_add_up_to_the_figures_of_the_evaluation(
    tiny_run: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_run.root)
    lines = told("evaluate_joint", first=100)
    rows = [line.split() for line in lines[2:-1]]
    names = ["missed", "background", "wrong_class", "badly_placed", "duplicate"]
    totals = dict(zip(names, np.array([row[2:] for row in rows], int).sum(axis=0).tolist(), strict=True))
    errors = json.loads((tiny_run.data / "evaluate_joint/metrics.json").read_text())["errors"]
    assert totals == {name: errors[name] for name in names}
    errors_of_each = [int(row[1]) for row in rows]
    assert errors_of_each == sorted(errors_of_each, reverse=True)


def test_worst_images_of_the_scene(scene: Path) -> None:
    lines = told("evaluate_step4", first=3)
    assert lines[2].split() == ["t", "6", "2", "1", "1", "1", "1"]
    assert lines[-1] == "look at one: frcnn inspect evaluate_step4 --image t"


def test_the_verb_writes_where_it_says(scene: Path) -> None:
    result = CliRunner().invoke(cli.app, ["inspect", "resize", "--image", "a.mirrored"])
    assert result.exit_code == 0 and result.output.strip() == "picture: inspect-resize-a.mirrored.png"
    assert Path("inspect-resize-a.mirrored.png").is_file()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "anchor_target",
            {},
            "anchor_target: no such stage, folder or file; the nearest is anchor_targets; the stages",
        ),
        ("nothing", {}, "nothing: no such stage, folder or file; the stages are dataset, backbone"),
        ("train_rpn_step1", {}, "data/train_rpn_step1: not there yet; dvc repro train_rpn_step1"),
        ("data/features/x.parquet", {}, "no such file or folder; the folder has images.parquet, maps-00000.npz"),
        ("params.yaml", {}, "no stage of dvc.yaml writes it"),
        ("resize", {"image": "b"}, "no image 'b'; resize has 3 images, among them a, c, t"),
        ("anchor_targets", {"image": "t"}, "'t' is a test image; anchor_targets works on train: 2 images, among them"),
        ("detect_step4", {"image": "t.mirrored"}, "detect_step4 has no mirrors"),
        ("resize", {"out": Path("x.png")}, "name the image to draw with --image"),
        ("resize", {"image": "a", "out": Path("x.jpg")}, "give a file name that ends in .png"),
        ("resize", {"image": "a", "out": Path("no/x.png")}, "in an existing folder"),
        ("resize", {"first": 3}, "--first lists images of an evaluate stage"),
        ("detect_step4", {"image": "t", "score": 2.0}, "give a number from 0 to 1"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(scene: Path, name: str, options: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        told(name, **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "stage", "image"),
    [
        ("resize/pixels-00000.npz", "anchor_targets", "a"),
        ("anchor_targets/bg-00000.npz", "anchor_targets", "a"),
        ("anchor_targets/bg-00000.npz", "anchor_targets", None),
        ("anchor_targets/fg_anchors.parquet", "anchor_targets", None),
        ("features/maps-00000.npz", "features", "a"),
        ("proposals_step3/objectness-00000.npz", "proposals_step3", "a"),
        ("proposals_step3/proposals.parquet", "proposals_step3", "a"),
        ("proposal_targets_step4/normalisation.json", "proposal_targets_step4", "a"),
        ("proposal_targets_step4/normalisation.json", "proposal_targets_step4", None),
        ("detect_step4/detections.parquet", "detect_step4", "t"),
        ("evaluate_step4/matches.parquet", "evaluate_step4", "t"),
    ],
)
def test_damaged_files_are_told_in_one_line(scene: Path, file: str, stage: str, image: str | None) -> None:
    path = scene / "data" / file
    content = path.read_bytes()
    for damaged in (b"\xffnothing of the kind", content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            told(stage, image)
        assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_anchors_of_other_parameters_are_told(scene: Path) -> None:
    path = scene / "params.yaml"
    path.write_text(path.read_text().replace("base_size: 16", "base_size: 17"))
    with pytest.raises(InputError, match=r"other anchors than params.yaml; dvc repro anchor_targets"):
        told("anchor_targets", "a")


def test_nearest_names_are_told(tiny_run: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_run.root)
    with pytest.raises(InputError, match="has 12 images, among them train_00008, train_00009"):
        told("anchor_targets", "train_00999")


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (281_000_000, "281 MB")])
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text

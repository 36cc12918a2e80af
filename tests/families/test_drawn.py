"""Drawn views in a graph, of pixels that are not stored: what the first epoch sees, the same bytes twice, resuming."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from pipeline.artifacts.dense_targets import DenseTargets
from pipeline.artifacts.draws import DRAWS, Draws
from pipeline.artifacts.image_views import DRAWN, Entry
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.tables import read_columns, write_table
from pipeline.dense.batches import DenseBatch
from pipeline.dense.drawn_batches import DrawnLoader
from pipeline.runtime.errors import InputError
from pipeline.runtime.variables import EVERY_ITERATIONS
from pipeline.views.contact_sheet import Tile
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.inspect.command import inspect_artifact
from pipeline.views.metrics import metrics_of
from pipeline.views.panels.drawn import drawn_view
from pipeline.views.panels.entries import entry_of
from pipeline.views.panels.registry import panels_of
from pipeline.views.panels.request import PanelRequest
from tests.conftest import made_once
from tests.families.drawn_project import DRAWN_TINY
from tests.families.points_project import new_points_project, visible, write_project
from tests.fidelity.conftest import files_of
from tests.in_process import prepared, run_stage, run_stages
from tests.killed import Killed, killed_at

PREPARED = ("dataset", "backbone", "resize", "points_targets")
TWO_EPOCHS: dict[str, Any] = {
    **DRAWN_TINY,
    "resize": {**DRAWN_TINY["resize"], "keep": "none", "shorter_side": 128},
    "train_points": {"iterations": 8, "images_per_iteration": 2, "lr_drop_at": [6], "warmup_iterations": 1},
}


def run_graph(root: Path) -> None:
    write_project(root, TWO_EPOCHS)
    run_stages(root, *PREPARED)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The graph up to the targets, run once. Do not change it."""
    with visible():
        yield made_once(tmp_path_factory, "drawn_run", run_graph)


@pytest.fixture(scope="module")
def trained(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[DenseBatch]]:
    """The folder of the training, and its batches."""
    batches: list[DenseBatch] = []
    load = DrawnLoader.__call__

    def kept(self: DrawnLoader, iteration: int) -> DenseBatch:
        batches.append(load(self, iteration))
        return batches[-1]

    with patch.object(DrawnLoader, "__call__", kept):
        return run_stage("train_points", run, tmp_path_factory.mktemp("trained") / "train_points"), batches


def request_of(run: Path, name: str) -> PanelRequest:
    graph = read_declared_graph(run)
    command = graph.commands["points_targets"]
    from pipeline.params.file import load_params

    return PanelRequest(command, run, entry_of(command, run, name), 0.5, graph, load_params(run / "params.yaml"))


def test_the_first_epoch_has_the_stored_targets_and_the_drawn_pixels(
    run: Path, trained: tuple[Path, list[DenseBatch]]
) -> None:
    targets, (_, batches) = DenseTargets(run / "data/points_targets"), trained
    seen: dict[str, list[np.ndarray]] = {}
    for epoch, own in ((0, batches[:6]), (1, batches[6:])):
        for batch in own:
            assert all(entry.view == DRAWN for entry in batch.views.entries) and batch.views.images is not None
            for row, entry in enumerate(batch.views.entries):
                pixels = batch.views.images[row].permute(1, 2, 0).numpy()
                seen.setdefault(entry.image_id, []).append(pixels)
                if epoch == 0:
                    assert batch.targets.labels[row].tolist() == targets[entry].dense_labels.tolist()
                    shown, boxes, _ = drawn_view(request_of(run, entry.name))
                    assert (pixels == shown).all()
                    assert (batch.targets.gt_boxes[row].numpy() == boxes).all()
    assert len(batches) == 8 and len(seen) == 12
    again = [pixels for pixels in seen.values() if len(pixels) == 2]
    assert len(again) == 4 and not any((first == second).all() for first, second in again)


def test_it_leaves_the_same_bytes_twice_and_when_it_was_cut_short(
    run: Path, trained: tuple[Path, list[DenseBatch]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut short in the second epoch, and again by a run that resumes from nothing."""
    monkeypatch.setenv(EVERY_ITERATIONS, "1")
    work, stage = prepared("train_points", run, tmp_path / "out", scratch=tmp_path / "scratch")
    with killed_at(DrawnLoader, 7), pytest.raises(Killed):
        work(stage)
    resumed: list[int] = []
    load = DrawnLoader.__call__

    def load_noted(self: DrawnLoader, iteration: int) -> Any:
        resumed.append(iteration)
        return load(self, iteration)

    work, stage = prepared("train_points", run, tmp_path / "out", scratch=tmp_path / "scratch")
    with patch.object(DrawnLoader, "__call__", load_noted):
        work(stage)
    write_manifest(stage.out, stage.name, stage.kernels)
    assert resumed == [6, 7]
    assert files_of(stage.out) == files_of(trained[0])


def test_pixels_that_are_not_stored_are_those_that_are(run: Path, tmp_path: Path) -> None:
    """And draws.parquet says what they are drawn from."""
    stored = run_stage("resize", run, tmp_path / "resize", {"resize": {"keep": "pixels"}})
    assert not list((run / "data/resize").glob("*.npz")) and list(stored.glob("pixels-*.npz"))
    kept = ResizedImages(stored)
    from pipeline.datasets.originals import Originals

    decoded = ResizedImages(run / "data/resize", originals=lambda: Originals(run / "data/dataset", run / "data/raw"))
    for info in kept:
        for entry in (Entry(info.image_id), Entry(info.image_id, 1)):
            assert (kept.pixels(entry) == decoded.pixels(entry)).all()
        own = decoded[info.image_id]
        assert replace(info, shard="") == own
        assert (info.drawn_from, own.drawn_from) == ((128, 128), (192, 192))
        assert decoded.source(info.image_id).shape == (192, 192, 3)
        assert (kept.source(info.image_id) == kept.pixels(Entry(info.image_id))).all()
    targets = run_stage("points_targets", run, tmp_path / "points_targets", resize=stored)
    assert set(read_columns(targets / "draws.parquet", DRAWS)["source_width"]) == {128}
    run_stage("train_points", run, tmp_path / "out", resize=stored, targets=targets)
    assert metrics_of(read_declared_graph(run).commands["resize"], run) == {"images": 18.0, "MB": 0.0}


def test_detection_decodes_what_is_not_stored(run: Path, trained: tuple[Path, Any], tmp_path: Path) -> None:
    given = {"trunk": trained[0], "head": trained[0]}
    stored = run_stage("resize", run, tmp_path / "resize", {"resize": {"keep": "pixels"}})
    folders = [
        run_stage("detect_points", run, tmp_path / name, None, **given, resize=resize)
        for name, resize in (("decoded", run / "data/resize"), ("stored", stored))
    ]
    found, wanted = map(files_of, folders)
    assert found == wanted


def test_who_reads_pixels_that_are_nowhere_is_told(run: Path, tmp_path: Path) -> None:
    work, stage = prepared("train_points", run, tmp_path / "out")
    with pytest.raises(InputError, match=r"resize: holds no pixels \(resize\.keep none\), .* add both to its command"):
        work(replace(stage, inputs={**stage.inputs, "raw": None}))
    dataset = Path(shutil.copytree(run / "data/dataset", tmp_path / "dataset"))
    for path in dataset.glob("images/**/train_00000.*"):
        path.unlink()
    write_manifest(dataset, "dataset")
    with pytest.raises(InputError, match=r"train_00000\.\w+: no such file; put the image there or drop it"):
        run_stage("train_points", run, tmp_path / "lost", dataset=dataset)


def test_another_draw_than_the_stored_one_is_told(run: Path, tmp_path: Path) -> None:
    targets = Path(shutil.copytree(run / "data/points_targets", tmp_path / "points_targets"))
    columns = read_columns(targets / "draws.parquet", DRAWS)
    write_table(targets / "draws.parquet", DRAWS, {**columns, "flip": ~columns["flip"]})
    write_manifest(targets, "points_targets")
    with pytest.raises(InputError, match=r"points_targets: holds another draw of train_\d+ .*dvc repro points_targets"):
        run_stage("train_points", run, tmp_path / "out", targets=targets)
    with pytest.raises(InputError, match=r"draws\.parquet: has no image 'b'; .*dvc repro points_targets"):
        Draws(targets)["b"]


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("points_targets", "has no drawn views, and train_points draws some"),
        ("train_points", "has drawn views, and tr"),
    ],
)
def test_one_stage_of_two_that_draws_is_told(run: Path, tmp_path: Path, part: str, what: str) -> None:
    nothing = {"augment": {**{part: {"probability": 0.0} for part in ("photometric", "expand")}, "flip": 0.0}}
    nothing["augment"]["crop"] = {"min_iou": ["whole"]}
    targets = run / "data/points_targets"
    if part == "points_targets":
        targets = run_stage(part, run, tmp_path / "points_targets", nothing)
        assert not (targets / "draws.parquet").exists()
        assert all(entry.view == 0 for entry in DenseTargets(targets))
    with pytest.raises(InputError, match=rf"points_targets: {what}.*; name section augment .*dvc repro points_targets"):
        run_stage("train_points", run, tmp_path / "out", nothing if part == "train_points" else None, targets=targets)


def panels(run: Path, name: str) -> list[Tile]:
    request = request_of(run, name)
    return panels_of(request.command, run, request.entry)


def test_a_drawn_view_is_drawn_with_what_was_drawn(run: Path) -> None:
    """By its name, and after the plain image."""
    plain, drawn = panels(run, "train_00000"), panels(run, "train_00000.drawn")
    assert plain[-1].caption == drawn[0].caption and (plain[-1].image == drawn[0].image).all()
    assert drawn[0].caption.startswith("train_00000 drawn: x ") and "of 192 x 192 px" in drawn[0].caption
    assert plain[0].caption.startswith("train_00000: ") and " fg location" in plain[0].caption
    commands = read_declared_graph(run).commands
    with pytest.raises(
        InputError, match=r"^resize has no drawn views .*where section augment draws .* Name it train_00000$"
    ):
        entry_of(commands["resize"], run, "train_00000.drawn")
    lines: list[str] = []
    inspect_artifact(run, "points_targets", None, None, 0.5, None, lines.append)
    assert any(line.startswith("draws.parquet: 12 rows") for line in lines)
    assert any("expand" in line and "sides of the canvas" in line for line in lines)
    resized = panels_of(commands["resize"], run, Entry("train_00000"))
    assert "192 x 192 -> 128 x 128 px" in resized[0].caption


@pytest.mark.long
def test_the_graph_runs_by_its_commands_and_is_shown(tmp_path: Path) -> None:
    project = new_points_project(tmp_path / "project", TWO_EPOCHS)
    assert sorted(project.repro()) == sorted((*PREPARED, "train_points", "detect_points", "evaluate_points"))
    assert project.repro() == []
    for words in (["report"], ["inspect", "points_targets", "--image", "train_00003.drawn", "--out", "drawn.png"]):
        shown = project.run("frcnn", *words)
        assert shown.returncode == 0, shown.stderr
    assert (project.root / "drawn.png").is_file()
    project.set_params({"augment": {"flip": 0.25}})
    assert project.repro()[:2] == ["points_targets", "train_points"]


def test_a_training_that_draws_without_the_function_of_the_targets_is_told(run: Path, tmp_path: Path) -> None:
    work, stage = prepared("train_points", run, tmp_path / "out")
    with (
        patch.object(stage.part, "assign"),
        pytest.raises(InputError, match=r"points/train_dense\.py: has no assign, which the stage asks for"),
    ):
        del stage.part.assign  # type: ignore[union-attr]
        work(stage)

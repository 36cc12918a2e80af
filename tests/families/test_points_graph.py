"""The made-up family's graph, run in this process: from nothing to figures, the same bytes twice, and cut short."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.dense_targets import DenseTargets
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.image_views import Entry, seen_boxes
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.maps import FeatureMaps
from pipeline.artifacts.matches import MATCHES
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.tables import read_columns, write_table
from pipeline.dense.batches import DenseLoader
from pipeline.dense.network import DenseDetector
from pipeline.families.registry import family_of, part_of
from pipeline.geometry.points import inside_any
from pipeline.graphs.command import StageCommand
from pipeline.params.file import sections_of
from pipeline.params.section import Section
from pipeline.runtime.errors import InputError
from pipeline.runtime.stage import Stage
from pipeline.runtime.variables import EVERY_ITERATIONS
from tests.conftest import made_once
from tests.e2e.test_ignore_regions import resized
from tests.families.points_project import FILES, POINTS_TINY, visible, write_project
from tests.fidelity.conftest import files_of
from tests.in_process import prepared, run_command, run_stage, run_stages, words_of
from tests.killed import Killed, killed_and_resumed

STAGES = ("dataset", "backbone", "resize", "points_targets", "train_points", "detect_points", "evaluate_points")
RANDOM: dict[str, Any] = {
    **POINTS_TINY,
    "backbone": {"weights": "random"},
    "resize": {**POINTS_TINY["resize"], "extra_sides": [128]},  # so that images of a batch are padded
}


def run_graph(root: Path) -> None:
    write_project(root, RANDOM)
    run_stages(root, *STAGES)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The whole graph, run once. Do not change it."""
    with visible():
        yield made_once(tmp_path_factory, "points_run", run_graph)


def test_without_a_part_of_its_own_a_family_has_the_common_figures(run: Path, tmp_path: Path) -> None:
    work, stage = prepared("evaluate_points", run, tmp_path / "out")
    work(replace(stage, part=None))
    wanted = json.loads((run / "data/evaluate_points/metrics.json").read_text())
    del wanted["centre_error"]
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == wanted


@pytest.mark.parametrize("name", STAGES[3:])
def test_a_part_without_a_function_that_its_stage_asks_for_is_told(run: Path, tmp_path: Path, name: str) -> None:
    work, stage = prepared(name, run, tmp_path / "out")
    assert stage.part is not None
    empty = ModuleType(stage.part.__name__)
    with pytest.raises(InputError, match=r"^pipeline/families/points/\w+\.py: has no \w+, which the stage asks for"):
        work(replace(stage, part=empty))


def test_a_figure_of_its_own_never_takes_the_place_of_a_common_one(run: Path, tmp_path: Path) -> None:
    work, stage = prepared("evaluate_points", run, tmp_path / "out")
    assert stage.part is not None
    for name in json.loads((run / "data/evaluate_points/metrics.json").read_text()).keys() - {"centre_error"}:
        with (
            patch.object(stage.part, "figures", lambda *_, name=name: {name: 0.5}),
            pytest.raises(InputError, match=rf"points/evaluate\.py: figure '{name}' is one that all families have"),
        ):
            work(stage)
    with patch.object(stage.part, "figures", lambda *_: {"least_side": np.float32(0.5), "tried": np.int64(7)}):
        work(stage)
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert (metrics["least_side"], metrics["tried"]) == (0.5, 7)


@pytest.mark.parametrize("listed", [False, True])
def test_a_file_of_its_own_that_the_graph_does_not_list_is_told(run: Path, tmp_path: Path, listed: bool) -> None:
    (tmp_path / "data").mkdir()
    for name in ("dataset", "resize", "detect_points"):
        (tmp_path / "data" / name).symlink_to(run / "data" / name)
    shutil.copyfile(run / "params.yaml", tmp_path / "params.yaml")
    graph = (run / "dvc.yaml").read_text()
    first = "      - data/evaluate_points/confusion.csv\n"
    added = f"{first}      - data/evaluate_points/sizes.csv\n" if listed else first
    (tmp_path / "dvc.yaml").write_text(graph.replace(first, added))
    module, *words = words_of(run, "evaluate_points")
    at = words.index("--code")
    part = part_of("points", "evaluate")
    assert part is not None

    def figures(stage: Stage, images: ResizedImages) -> dict[str, float]:
        (stage.out / "sizes.csv").touch()
        return {}

    with patch.object(part, "figures", figures):
        ended = run_command(tmp_path, module, *words[:at], *words[at + 2 :])
    assert (tmp_path / "data/evaluate_points").exists() == listed
    if listed:
        assert ended.returncode == 0, ended.stderr
    else:
        assert ended.stderr.splitlines()[-1] == (
            "evaluate_points: error: wrote sizes.csv, which dvc.yaml does not list, so that DVC would not keep it; add "
            "data/evaluate_points/sizes.csv under outs of stage evaluate_points in graphs/, and run frcnn graph"
        )


GRAPH = yaml.safe_load((FILES / "graph.yaml").read_text())["stages"]


@pytest.mark.parametrize("name", GRAPH)
def test_a_command_names_the_parameters_inputs_and_outputs_that_dvc_knows(run: Path, name: str) -> None:
    stage = GRAPH[name]
    command = StageCommand.parse(stage["cmd"])
    assert (command.family, command.stage) == ("points", name)
    assert [*command.params] == stage["params"]
    own, part = _sections(command.module), part_of("points", command.module)
    optional = {"init"} if command.module == "detect_dense" else set()  # of the detector that training starts from
    assert part is not None and {**own, **part.SECTIONS}.keys() - optional == set(stage["params"])
    assert {**own, **part.SECTIONS}.items() <= sections_of(family_of("points")).items()
    lock = f"data/code/{command.module}-points.json"
    assert {*map(str, command.options.values()), lock} == set(stage["deps"])
    assert {Path(path).parts[:2] for path in stage["outs"] + stage.get("metrics", [])} == {("data", name)}


def _sections(module: str) -> dict[str, type[Section]]:
    """The models of the sections that a stage of this module may be given, whatever the family."""
    given: dict[str, type[Section]] = {}
    with (
        patch("pipeline.runtime.stage.run_stage", lambda *_, sections, **__: given.update(sections)),
        patch.dict(sys.modules),
    ):
        sys.modules.pop(f"stages.{module}", None)
        runpy.run_module(f"stages.{module}", run_name="__main__")
    return given


def test_targets_are_of_every_view_of_every_training_image_and_mirror_with_it(run: Path) -> None:
    targets = DenseTargets(run / "data/points_targets")
    images = ResizedImages(run / "data/resize", "train")
    assert list(targets) == list(images.entries(mirror=True)) and targets.fg_count > 0
    assert {entry.view for entry in targets} == {0, 1, 2, 3}
    for entry in images.entries(mirror=False):
        plain, mirror = targets[entry], targets[entry.mirror]
        assert plain.grid.cells[0] == (images.seen(entry).size[0] // 8, images.seen(entry).size[1] // 8)
        levels = zip(*(own.grid.split(own.dense_labels) for own in (plain, mirror)), strict=True)
        assert all((one[:, ::-1] == two).all() for one, two in levels)


@pytest.mark.parametrize("view", [0, 1])
def test_crowds_and_ignore_regions_are_ignored_and_difficult_boxes_background(
    run: Path, tmp_path: Path, view: int
) -> None:
    """An object, an ignore region, a crowd, and a difficult object where there is nothing else."""
    regions, hard = [[100, 16, 148, 48], [16, 96, 64, 128]], [150, 100, 190, 140]
    rows = [(regions[0], -1, False), (regions[1], 1, True), ([8, 8, 40, 40], 1, False), (hard, 1, False)]
    resize = resized(tmp_path / "resize", *rows, difficult=[3])
    own = DenseTargets(run_stage("points_targets", run, tmp_path / "out", resize=resize))[Entry("a", view)]
    seen = seen_boxes(np.array([*regions, hard], np.float32), Entry("a", view), 200)
    centres, labels = own.grid.centres(), own.dense_labels
    assert own.labels.tolist() == [1] * 4 and set(own.matched_gt.tolist()) == {0}
    assert (own.ignored == inside_any(centres, seen[:2])).all() and own.ignored.sum() > 20
    assert set(labels[inside_any(centres, seen[2:])].tolist()) == {0}


def test_training_leaves_both_parts_and_the_familys_losses(run: Path) -> None:
    folder = run / "data/train_points"
    weights, before = load_file(folder / "model.safetensors"), load_file(run / "data/backbone/model.safetensors")
    assert {name.partition(".")[0] for name in weights} == {"trunk", "head"}
    moved = {name for name, value in before.items() if name in weights and not torch.equal(value, weights[name])}
    assert "trunk.layers.0.weight" not in moved and any(name.startswith("trunk.layers") for name in moved)
    lines = (folder / "history.csv").read_text().splitlines()
    assert lines[0] == "iteration,lr,loss,points_class,points_box" and len(lines) == 3


def test_detections_and_maps_of_scores_are_of_every_test_image(run: Path) -> None:
    folder = run / "data/detect_points"
    images = ResizedImages(run / "data/resize", "val", "test")
    rows, results = (
        read_columns(folder / "detections.parquet", DETECTIONS),
        json.loads((folder / "detections.json").read_text()),
    )
    ids = [image.image_id for image in images]
    assert [ids[result["image_id"] - 1] for result in results] == rows["image_id"].tolist()
    assert [result["category_id"] for result in results] == rows["label"].tolist()
    maps = FeatureMaps(folder)
    assert [entry.image_id for entry in maps] == ids
    cells = [level.shape for level in maps[Entry(ids[0])]]
    assert cells == [(24, 24), (12, 12), (6, 6)] and {own.dtype for own in maps[Entry(ids[0])]} == {
        np.dtype(np.float16)
    }


def test_figures_are_the_common_ones_and_the_familys_own(run: Path) -> None:
    metrics = json.loads((run / "data/evaluate_points/metrics.json").read_text())
    assert list(metrics)[-3:] == ["centre_error", "images", "detections"] and "proposal_recall50" not in metrics
    assert (metrics["images"] == 6 and metrics["centre_error"] is None) or 0 <= metrics["centre_error"] < 1
    files = {path.name for path in (run / "data/evaluate_points").iterdir()}
    assert files == {"metrics.json", "matches.parquet", "confusion.csv", "pr_curves.csv", "manifest.json"}


@pytest.mark.parametrize("name", STAGES[3:])
def test_a_stage_leaves_the_same_bytes_twice(run: Path, tmp_path: Path, name: str) -> None:
    again = run_stage(name, run, tmp_path / name)
    assert files_of(again) == files_of(run / "data" / name)


def killing_at(count: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, killed when it is called for the time after `count` times."""
    calls = 0

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > count:
            raise Killed
        return function(*given, **named)

    return counted


@pytest.mark.parametrize("name", ["points_targets", "detect_points"])
def test_a_stage_that_goes_image_by_image_resumes_after_its_complete_chunks(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Chunks of two images, killed in the second; targets are assigned four times an image."""
    work, stage = prepared(name, run, tmp_path / "undisturbed")
    whose, what, calls = (stage.part, "assign", 12) if name == "points_targets" else (DenseDetector, "decode", 3)
    with patch.object(ChunkedWork.__init__, "__defaults__", (None, 2, None)):
        work(stage)
        work, stage = prepared(name, run, tmp_path / "killed")
        with patch.object(whose, what, killing_at(calls, getattr(whose, what))), pytest.raises(Killed):
            work(stage)
        capsys.readouterr()
        work(stage)
    assert "resumes after 2 of " in capsys.readouterr().err
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "undisturbed")


def test_a_training_cut_short_resumes_and_leaves_the_bytes_of_one_that_was_not(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(EVERY_ITERATIONS, "1")
    resumed = killed_and_resumed("train_points", run, tmp_path, DenseLoader, 3)
    assert "resumes from iteration 2 of 4" in capsys.readouterr().err
    assert files_of(resumed) == files_of(run / "data/train_points")


def test_a_loss_that_is_not_finite_is_told_in_one_line_and_its_batch_kept(run: Path, tmp_path: Path) -> None:
    too_fast = {"train_points": {"lr": 1e30}, "solver": {"clip_norm": 0.0}}
    work, stage = prepared("train_points", run, tmp_path / "out", too_fast)
    with pytest.raises(InputError, match=r"not finite at iteration 1 on train_.*points_class.*lower train_points\.lr"):
        work(replace(stage, bad_batches=tmp_path / "bad"))
    kept = load_file(tmp_path / "bad/train_points-1.safetensors")
    assert kept["targets.labels"].shape[0] == 2 and kept["views.images"].dtype == torch.uint8


def test_weights_of_another_head_are_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train_points: weight '.*' has shape .*, the configured network needs"):
        run_stage("detect_points", run, tmp_path / "out", {"points": {"channels": 24}})


def test_only_the_best_that_score_enough_are_judged(run: Path, tmp_path: Path) -> None:
    """Whatever the detector kept: three of one image, of which one scores too little, and one of another."""
    first, second = [image.image_id for image in ResizedImages(run / "data/resize", "test")][:2]
    detections = tmp_path / "detections"
    detections.mkdir()
    rows = {"image_id": [first] * 4 + [second], "label": [1, 2, 3, 1, 2], "score": [0.9, 0.25, 0.5, 0.2, 0.3]}
    boxes = {name: [value] * 5 for name, value in zip(("x1", "y1", "x2", "y2"), (1.0, 2.0, 30.0, 40.0), strict=True)}
    write_table(detections / "detections.parquet", DETECTIONS, {**rows, **boxes})
    write_manifest(detections, "detect_points")

    def judged(name: str, score_threshold: float, per_image: int) -> list[tuple[str, float]]:
        limits = {"score_threshold": score_threshold, "per_image": per_image}
        out = run_stage("evaluate_points", run, tmp_path / name, {"evaluate": limits}, detections=detections)
        found = read_columns(out / "matches.parquet", MATCHES)
        of_detections = found["kind"] != "missed"
        assert json.loads((out / "metrics.json").read_text())["detections"] == int(of_detections.sum())
        scores = found["score"][of_detections].astype(float).round(6).tolist()
        return list(zip(found["image_id"][of_detections].tolist(), scores, strict=True))

    assert judged("all", 0.0, 100) == [(first, 0.9), (first, 0.5), (first, 0.25), (first, 0.2), (second, 0.3)]
    assert judged("threshold", 0.25, 100) == [(first, 0.9), (first, 0.5), (first, 0.25), (second, 0.3)]
    assert judged("best", 0.0, 2) == [(first, 0.9), (first, 0.5), (second, 0.3)]

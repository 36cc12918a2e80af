"""The graph of RetinaNet, run in this process on the tiny trunk's one map: from nothing to figures, and cut short."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from safetensors.torch import load_file

from pipeline.artifacts.dense_targets import DenseTargets
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.image_rows import ImageRows
from pipeline.artifacts.maps import FeatureMaps
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.tables import boxes_of
from pipeline.building.trunk import new_trunk
from pipeline.bundle.contract import Computation, family_bundle
from pipeline.bundle.detector import Detector
from pipeline.bundle.file import Bundle, BundleSettings, PixelNormalisation
from pipeline.bundle.writing import write_bundle
from pipeline.dense.batches import DenseLoader
from pipeline.families.registry import family_of, part_of
from pipeline.families.retinanet.export import FORMATS
from pipeline.graphs.command import StageCommand
from pipeline.params.file import sections_of
from pipeline.runtime.errors import InputError
from pipeline.runtime.variables import EVERY_ITERATIONS
from pipeline.views.contact_sheet import Tile
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.panels.entries import entry_of
from pipeline.views.panels.registry import panels_of
from tests.conftest import ROOT, made_once
from tests.families.retinanet_project import PYRAMID, RETINANET_TINY, params_of, write_project
from tests.fidelity.conftest import files_of
from tests.in_process import run_stages
from tests.killed import killed_and_resumed
from tests.parity.comparison import Differences, differences

STAGES = ("dataset", "backbone", "resize", "retinanet_targets", "train_retinanet", "detect_retinanet")
GRAPH = yaml.safe_load((ROOT / "graphs/retinanet.yaml").read_text())["stages"]


def run_graph(root: Path) -> None:
    write_project(root, RETINANET_TINY)
    run_stages(root, *STAGES, "evaluate_retinanet")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole graph, run once. Do not change it."""
    return made_once(tmp_path_factory, "retinanet_run", run_graph)


@pytest.mark.parametrize("name", GRAPH)
def test_a_command_names_the_parameters_inputs_and_outputs_that_dvc_knows(name: str) -> None:
    stage = GRAPH[name]
    command = StageCommand.parse(stage["cmd"])
    assert (command.family, command.stage) == ("retinanet", name)
    assert [*command.params] == stage["params"]
    part = part_of("retinanet", command.module)
    if part is not None:
        assert part.SECTIONS.keys() <= {*stage["params"]}
        assert part.SECTIONS.items() <= sections_of(family_of("retinanet")).items()
    lock = f"data/code/{command.module}-retinanet.json"
    assert {*map(str, command.options.values()), lock} == {*stage["deps"]}
    assert {Path(path).parts[:2] for path in stage["outs"] + stage.get("metrics", [])} == {("data", name)}


def test_every_gt_box_has_an_anchor_and_mirrors_have_the_mirrored_ones(run: Path) -> None:
    targets, images = DenseTargets(run / "data/retinanet_targets"), ResizedImages(run / "data/resize", "train")
    assert list(targets) == list(images.entries(mirror=True))
    for entry in images.entries(mirror=False):
        plain, mirror = targets[entry], targets[entry.mirror]
        assert plain.grid.per_cell == (12,) and plain.grid.strides == (8,)
        levels = zip(*(own.grid.split(own.dense_labels) for own in (plain, mirror)), strict=True)
        assert all((one[:, ::-1] == two).all() for one, two in levels)
    assert targets.fg_count > 50


def test_training_writes_both_losses_and_the_running_normaliser(run: Path) -> None:
    folder = run / "data/train_retinanet"
    weights = load_file(folder / "model.safetensors")
    assert weights["head.normaliser"].shape == () and 0 < float(weights["head.normaliser"]) != 100
    lines = (folder / "history.csv").read_text().splitlines()
    assert lines[0] == "iteration,lr,loss,retinanet_class,retinanet_box" and len(lines) == 3
    metrics = json.loads((run / "data/evaluate_retinanet/metrics.json").read_text())
    assert metrics["images"] == 6 and metrics["detections"] > 0 and "proposal_recall50" not in metrics


def test_a_training_cut_short_resumes_with_its_normaliser_and_leaves_the_same_bytes(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(EVERY_ITERATIONS, "1")
    resumed = killed_and_resumed("train_retinanet", run, tmp_path, DenseLoader, 3)
    assert "resumes from iteration 2 of 4" in capsys.readouterr().err
    assert files_of(resumed) == files_of(run / "data/train_retinanet")


def test_its_bundle_finds_the_stages_rows(run: Path, tmp_path: Path) -> None:
    (line,) = write_bundle(run, None, tmp_path / "bundle")
    assert "the retinanet network" in line
    detector, stage = Detector.load(tmp_path / "bundle", "cpu"), run / "data/detect_retinanet/detections.parquet"
    rows, total = ImageRows(stage, DETECTIONS), 0
    for path in sorted((run / "data/dataset").rglob("test_*.*"))[:2]:
        found, own = detector(path), rows[path.stem, False]
        assert np.array_equal(found.boxes, boxes_of(own)) and np.array_equal(found.scores, own["score"])
        total += len(found)
    assert total > 10


def tiles_of(run: Path, name: str, brief: bool = False) -> list[Tile]:
    command = read_declared_graph(run).commands["retinanet_targets"]
    return panels_of(command, run, entry_of(command, run, name), brief=brief)


def test_panels_show_the_best_anchor_of_each_box_where_anchors_lie_and_what_each_is(run: Path) -> None:
    targets = DenseTargets(run / "data/retinanet_targets")
    entry = next(own for own in targets if len(targets[own].fg))
    own = targets[entry]
    first, best, _, shapes, fg, *counts = tiles_of(run, entry.image_id)
    (brief,) = tiles_of(run, entry.image_id, brief=True)
    assert brief.caption == first.caption and f"{len(own.fg)} fg location" in first.caption and "IoU" in first.caption
    assert "the best anchor of" in best.caption and "the 12 anchors of location" in shapes.caption
    assert f"{len(own.fg)} fg anchor" in fg.caption and f"{own.quality.max():.2f}" in fg.caption
    assert [tile.caption.partition(":")[0] for tile in counts] == ["fg", "ignored", "bg"]
    assert f"ignored: {int(own.ignored.sum()):,} anchors" in counts[1].caption


def test_the_last_panels_of_a_detection_weigh_background_as_the_focal_loss_does(run: Path) -> None:
    command = read_declared_graph(run).commands["detect_retinanet"]
    entry = entry_of(command, run, "test_00000")
    *_, weights = panels_of(command, run, entry)
    (scores,) = FeatureMaps(run / "data/detect_retinanet")[entry]
    p = scores.astype(np.float64)
    assert f"highest {0.75 * p.max() ** 2:.3f}" in weights.caption
    half, losses = re.search(r"([\d,]+) of 576 cells make half", weights.caption), 0.75 * p**2 * -np.log1p(-p)
    assert half is not None
    falling = np.sort(losses.ravel())[::-1].cumsum()
    count = int(half[1])
    assert falling[count - 1] >= falling[-1] * 0.499 and (count == 1 or falling[count - 2] < falling[-1] * 0.501)
    assert len(panels_of(command, run, entry, brief=True)) == len(panels_of(command, run, entry)) - 2


def test_panels_of_other_anchors_than_params_yamls_are_told(run: Path) -> None:
    command = read_declared_graph(run).commands["retinanet_targets"]
    params = params_of(RETINANET_TINY, {"anchors": {"scales": [1.0]}})
    entry = entry_of(command, run, "train_00000")
    with pytest.raises(InputError, match=r"retinanet_targets: has other anchors than params.yaml; dvc repro"):
        panels_of(command, run, entry, params=params)


def random_bundle(overlay: dict[str, Any]) -> Bundle:
    """A bundle of random weights in memory, whose scores are anything from 0 to 1."""
    params = params_of(overlay)
    model = family_bundle("retinanet").params
    sections = {name: params.sections()[name] for name in model.model_fields if name != "base"}
    used = model(base=Computation(threads=2, precision="float32"), **sections)
    settings = BundleSettings(
        format="frcnn-bundle-2",
        family="retinanet",
        network="retinanet",
        classes=["background", "a", "b", "c"],
        params=used,
        normalisation=PixelNormalisation(pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3),
        metrics=None,
        model_sha256="0" * 64,
        dvc_lock_sha256=None,
        settings_sha256="0" * 64,
    )
    parts = family_bundle("retinanet").new_parts(used, 4)
    draw = torch.Generator().manual_seed(0)
    trunk = new_trunk(params.backbone)
    trunk.initialise(draw)
    if trunk.neck:
        trunk.neck.initialise(draw)
    parts["trunk"].load_state_dict(trunk.state_dict())
    with torch.no_grad():
        for name, weight in parts["head"].named_parameters():
            if weight.ndim == 4:
                weight.normal_(std=0.02 if "cls_logits" in name or "bbox" in name else 0.05, generator=draw)
            elif name.endswith("bias"):
                weight.zero_()
    for part in parts.values():
        part.eval()
    return Bundle(Path("memory"), settings, parts)


@pytest.mark.long
@pytest.mark.parametrize(
    "overlay",
    [
        {"retinanet": RETINANET_TINY["retinanet"]},
        {
            **PYRAMID,
            "anchors": {**PYRAMID["anchors"], "placement": "torchvision", "whole_sizes": True},
            "retinanet": {"depth": 1, "channels": 32, "norm": "group"},
        },
        {
            "backbone": {**PYRAMID["backbone"], "size_divisible": 1},
            "anchors": {**PYRAMID["anchors"], "placement": "torchvision"},
        },
    ],
    ids=["one_level", "pyramid", "pyramid_of_any_size"],
)
def test_the_onnx_graph_detects_the_same_in_images_of_many_sizes(overlay: dict[str, Any], tmp_path: Path) -> None:
    bundle, total = random_bundle(overlay), Differences()
    FORMATS["onnx"].write(bundle, tmp_path / "net.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns that `scale` may be fed
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", options, providers=["CPUExecutionProvider"])
    network = family_bundle("retinanet").network(bundle.parts, bundle.settings.params)
    draw = np.random.default_rng(0)
    for size in [(160, 192), (96, 131), (149, 96), (200, 333), (40, 150), (3, 120), (1, 1)]:
        pixels = draw.integers(0, 256, (*size, 3), dtype=np.uint8)
        (ours,) = network(torch.from_numpy(pixels)[None].permute(0, 3, 1, 2), [size], [(1.0, 1.0)])
        feeds = {"image": pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255}
        names = [output.name for output in session.get_outputs()]
        total.add(differences(ours, dict(zip(names, map(torch.from_numpy, session.run(None, feeds)), strict=True))))
    print(f"{total.pairs} pairs, scores to {total.score:.1e}, boxes to {total.box:.1e} px")
    assert not total.unpaired and total.pairs > 100

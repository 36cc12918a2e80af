"""SSD's graph on generated shapes, run in this process, and its bundle and ONNX graph."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from safetensors.torch import load_file

from pipeline.artifacts.dense_targets import DenseTargets
from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.image_views import DRAWN as DRAWN_VIEW
from pipeline.bundle.contract import family_bundle
from pipeline.bundle.file import Bundle, BundleSettings, read_bundle
from pipeline.bundle.writing import write_bundle
from pipeline.dense.export import FORMATS
from pipeline.export.files import export_bundle
from pipeline.families.registry import family_of
from pipeline.graphs.composing import composed
from pipeline.presets.defaults import default_text
from pipeline.presets.links import LINKED, links_of
from pipeline.views.contact_sheet import Tile
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.panels.entries import entry_of
from pipeline.views.panels.registry import panels_of
from tests.conftest import ROOT, TINY, apply_overlay, made_once
from tests.defaults import copy_graphs
from tests.families.drawn_project import SSD as DRAWN
from tests.in_process import run_stages
from tests.parity.comparison import differences
from tests.parity.test_export import textured
from tests.ssd_models import make_thin, our_names, ssd_params, torchvision_ssd

STAGES = ("dataset", "backbone", "resize", "ssd_targets", "train_ssd", "detect_ssd", "evaluate_ssd")
SSD_TINY: dict[str, Any] = {
    **{section: TINY[section] for section in ("dataset", "solver")},
    "base": {**TINY["base"], "mirror": False},
    "augment": DRAWN,
    "backbone": {"weights": "random"},
    "resize": {"fixed_width": 128, "fixed_height": 96},
    "train_ssd": {"iterations": 3, "images_per_iteration": 2, "lr_drop_at": [2], "warmup_iterations": 1},
    "detect_ssd": {"score_threshold": 0.0},
    "evaluate": {"score_threshold": 0.0},
}


def run_graph(root: Path) -> None:
    root.mkdir()
    copy_graphs(root)
    (root / "dvc.yaml").write_text(composed(root, "ssd"))
    params = apply_overlay(yaml.safe_load(default_text(family_of("ssd"))), SSD_TINY)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for place in links_of(params):
        (root / LINKED[place]).mkdir(parents=True)
    run_stages(root, *STAGES)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole graph, run once. Do not change it."""
    return made_once(tmp_path_factory, "ssd_run", run_graph)


def test_every_object_has_a_default_box_and_training_reads_them(run: Path) -> None:
    targets, gt = DenseTargets(run / "data/ssd_targets"), GroundTruth(run / "data/resize")
    assert {entry.view for entry in targets} == {0, DRAWN_VIEW}
    for entry in targets:
        own = targets[entry]
        assert own.grid.strides == (8, 16, 32, 64) and own.grid.per_cell == (4,) * 4
        assert len(own.grid) == 4 * (12 * 16 + 6 * 8 + 3 * 4 + 2 * 2)
        if entry.view == 0:
            assert set(own.matched_gt.tolist()) == set(range(len(gt[entry.image_id][0])))
    assert targets.fg_count > len(targets) > 0
    head = (run / "data/train_ssd/history.csv").read_text().splitlines()[0]
    assert head.split(",")[-2:] == ["ssd_class", "ssd_box"]


def test_its_weights_are_named_as_torchvisions_and_learn(run: Path) -> None:
    before, after = (load_file(run / f"data/{name}/model.safetensors") for name in ("backbone", "train_ssd"))
    assert "trunk.neck.extra.0.2.weight" in after and "head.classification_head.module_list.3.bias" in after
    learnt = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"trunk.neck.extra.0.0.bias", "trunk.neck.extra.0.2.bias", "trunk.layers.15.weight"} <= learnt


def test_the_figures_are_there(run: Path) -> None:
    figures = json.loads((run / "data/evaluate_ssd/metrics.json").read_text())
    assert figures["detections"] > 100 and 0 <= figures["mAP50"] <= 1


def session_of(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def check_graph(bundle: Bundle, path: Path, *sizes: tuple[int, int]) -> None:
    """The ONNX graph detects what the network does, in float32."""
    session, network = session_of(path), family_bundle("ssd").network(bundle.parts, bundle.settings.params)
    for seed, size in enumerate(sizes):
        pixels = textured(*size, seed)
        (ours,) = network(pixels[None], [size], [(1.0, 1.0)])
        found = session.run(None, {"image": pixels[None].numpy().astype(np.float32) / 255})
        names = [own.name for own in session.get_outputs()]
        total = differences(ours, dict(zip(names, map(torch.from_numpy, found), strict=True)))
        assert not total.unpaired and total.pairs > 100, total


@pytest.mark.long
def test_the_onnx_graph_of_the_bundle_detects_the_same(run: Path, tmp_path: Path) -> None:
    write_bundle(run, None, tmp_path / "bundle")
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.settings.params.detect_ssd.per_class == 400
    export_bundle(tmp_path / "bundle", "onnx", tmp_path / "net.onnx")
    check_graph(bundle, tmp_path / "net.onnx", (96, 128), (40, 200))


@pytest.mark.long
def test_that_of_ssd300_takes_images_of_its_size_alone(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_thin(monkeypatch)
    write_bundle(run, None, tmp_path / "bundle")
    settings = read_bundle(tmp_path / "bundle").settings
    own = ssd_params()
    sections = {name: getattr(own, name) for name in type(settings.params).model_fields if name != "base"}
    params = settings.params.model_copy(update=sections)
    parts = family_bundle("ssd").new_parts(params, 4)
    state = our_names(torchvision_ssd(4).state_dict())
    for name, part in parts.items():
        part.load_state_dict(
            {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(name)}
        )
        part.eval()
    changed: BundleSettings = settings.model_copy(update={"params": params})
    bundle = Bundle(tmp_path, changed, parts)
    FORMATS["onnx"].write(bundle, tmp_path / "net.onnx")
    assert session_of(tmp_path / "net.onnx").get_inputs()[0].shape == [1, 3, 300, 300]
    check_graph(bundle, tmp_path / "net.onnx", (300, 300))


def test_inspect_draws_the_default_boxes_of_each_level(run: Path) -> None:
    command = read_declared_graph(run).commands["ssd_targets"]

    def tiles(image: str, brief: bool = False) -> list[Tile]:
        return panels_of(command, run, entry_of(command, run, image), brief=brief)

    first, best, *levels = tiles("train_00000")[:6]
    assert "fg locations" in first.caption and "the best default box of" in best.caption
    for stride, (low, high), own in zip((8, 16, 32, 64), ((11, 16), (22, 31), (44, 57), (72, 87)), levels, strict=True):
        assert f"stride {stride}: 4 default boxes a cell of {low} to {high} px" in own.caption
    assert tiles("train_00000", brief=True)[0].caption == first.caption
    assert "the best default box of" in tiles("train_00000.drawn")[1].caption


def test_the_page_draws_the_graph() -> None:
    stages = yaml.safe_load(composed(ROOT, "ssd"))["stages"]
    wired = {
        (dep.removeprefix("data/"), name)
        for name, stage in stages.items()
        for dep in stage.get("deps", ())
        if "ssd" in name and "/code/" not in dep and dep != "data/raw"
    }
    page = (ROOT / "docs/ssd.md").read_text(encoding="utf-8").partition("```mermaid\n")[2].partition("```")[0]
    chains = [line.split(" --> ") for line in page.splitlines() if "-->" in line]
    drawn = {(one.strip(), other.strip()) for chain in chains for one, other in itertools.pairwise(chain)}
    assert drawn == wired

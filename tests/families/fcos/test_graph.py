"""The graph of FCOS, run in this process: from nothing to figures, a bundle and an ONNX file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from safetensors.torch import load_file

from pipeline.artifacts.dense_targets import DenseTargets
from pipeline.bundle.contract import family_bundle
from pipeline.bundle.detector import Detector
from pipeline.bundle.file import Bundle, read_bundle
from pipeline.bundle.writing import write_bundle
from pipeline.dense.export import FORMATS
from pipeline.families.fcos.panels import _WORDS
from pipeline.families.registry import family_of, part_of
from pipeline.graphs.command import StageCommand
from pipeline.params.file import sections_of
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from pipeline.views.contact_sheet import Tile
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.panels.entries import entry_of
from pipeline.views.panels.registry import panels_of
from tests.conftest import ROOT, TINY, made_once
from tests.families.family_project import family_params, write_family_project
from tests.families.fcos.scene import PYRAMID
from tests.fidelity.conftest import files_of
from tests.in_process import run_stage, run_stages
from tests.parity.comparison import Differences, differences

STAGES = ("dataset", "backbone", "resize", "fcos_targets", "train_fcos", "detect_fcos", "evaluate_fcos")
SMALL: dict[str, Any] = {
    **{section: TINY[section] for section in ("base", "dataset", "resize", "solver", "evaluate")},
    "backbone": {"weights": "random"},
    "fcos": {"depth": 1, "channels": 32, "regression": "exp", "centreness_on": "class"},
    "train_fcos": {"iterations": 4, "images_per_iteration": 2, "lr_drop_at": [3], "warmup_iterations": 1},
    "detect_fcos": {"score_threshold": 0.0, "per_level": 50},
}


def run_graph(root: Path) -> None:
    write_family_project(root, "fcos", SMALL)
    run_stages(root, *STAGES)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole graph, run once. Do not change it."""
    return made_once(tmp_path_factory, "fcos_run", run_graph)


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "fcos"
    write_bundle(run, None, folder)
    return folder


def test_training_leaves_both_parts_and_three_losses(run: Path) -> None:
    assert DenseTargets(run / "data/fcos_targets").fg_count > 0
    weights = load_file(run / "data/train_fcos/model.safetensors")
    assert {name.partition(".")[0] for name in weights} == {"trunk", "head"}
    assert weights["head.scales"].tolist() != [1.0] and "head.classification_head.bbox_ctrness.bias" in weights
    lines = (run / "data/train_fcos/history.csv").read_text().splitlines()
    assert lines[0] == "iteration,lr,loss,fcos_class,fcos_box,fcos_centreness" and len(lines) == 3


@pytest.mark.parametrize("name", STAGES[3:])
def test_a_stage_leaves_the_same_bytes_twice(run: Path, tmp_path: Path, name: str) -> None:
    assert files_of(run_stage(name, run, tmp_path / name)) == files_of(run / "data" / name)


GRAPH = yaml.safe_load((ROOT / "graphs/fcos.yaml").read_text(encoding="utf-8"))["stages"]


@pytest.mark.parametrize("name", GRAPH)
def test_a_command_names_the_parameters_and_inputs_that_dvc_knows(name: str) -> None:
    stage, family = GRAPH[name], family_of("fcos")
    command = StageCommand.parse(stage["cmd"])
    assert (command.family, command.stage, [*command.params]) == ("fcos", name, stage["params"])
    part = part_of("fcos", command.module)
    needed = set() if part is None else set(part.SECTIONS)
    assert needed <= set(stage["params"]) <= set(sections_of(family))
    lock = f"data/code/{command.module}-fcos.json"
    assert {*map(str, command.options.values()), lock} == set(stage["deps"])


def panels(run: Path, name: str, params: Params, brief: bool = False) -> list[Tile]:
    command = read_declared_graph(run).commands["fcos_targets"]
    return panels_of(command, run, entry_of(command, run, name), brief=brief, params=params)


def test_panels_tell_why_locations_find_a_box(run: Path) -> None:
    params, targets = family_params("fcos", SMALL), DenseTargets(run / "data/fcos_targets")
    entry = max(targets, key=lambda own: len(targets[own].fg))
    fg = len(targets[entry].fg)
    first, why, level = panels(run, entry.name, params)
    assert f"{fg} fg locations of " in first.caption and ", centre-ness 0." in first.caption
    assert f"locations inside each of {len(set(targets[entry].matched_gt.tolist()))} gt boxes, near" in why.caption
    assert level.caption.startswith(f"level 0, stride 8: {fg} fg locations of ")
    (brief,) = panels(run, entry.name, params, brief=True)
    assert brief.caption == first.caption
    other = family_params("fcos", SMALL, PYRAMID)
    with pytest.raises(InputError, match=r"fcos_targets: has other levels than params\.yaml; dvc repro fcos_targets"):
        panels(run, entry.name, other)


def test_levels_are_told_with_their_ranges() -> None:
    request: Any = SimpleNamespace(params=family_params("fcos", PYRAMID))
    assert [_WORDS.of_level(request, level) for level in (0, 1, 4)] == [
        ", edges 0 to 64 px away",
        ", edges 64 to 128 px away",
        ", edges 512 px away and more",
    ]


def test_a_bundle_finds_what_the_stage_found(run: Path, bundle: Path) -> None:
    detector = Detector.load(bundle, "cpu")
    photo = min((run / "data/dataset").rglob("test_*.*"))
    found = detector(photo)
    assert len(found) > 20 and set(found.labels.tolist()) <= {1, 2, 3}


SIZES = [(160, 192), (96, 131), (40, 150), (1, 1)]
"""Height, width; some are thinner than a stride."""


@pytest.mark.long
@pytest.mark.parametrize("changes", [{"threshold_on": "class"}, {"placement": "torchvision"}, {"norm": "none"}])
def test_the_onnx_graph_detects_the_same_in_images_of_many_sizes(
    bundle: Path, tmp_path: Path, changes: dict[str, str]
) -> None:
    own = read_bundle(bundle)
    params = own.settings.params
    for section in ("fcos", "detect_fcos"):
        values = getattr(params, section)
        known = {key: value for key, value in changes.items() if key in type(values).model_fields}
        params = params.model_copy(update={section: values.model_copy(update=known)})
    parts = family_bundle("fcos").new_parts(params, len(own.settings.classes))
    for name, part in parts.items():
        part.load_state_dict(own.parts[name].state_dict(), strict="norm" not in changes)
        part.eval()
    other = Bundle(own.folder, own.settings.model_copy(update={"params": params}), parts)
    FORMATS["onnx"].write(other, tmp_path / "net.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns that `scale` may be fed
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", options, providers=["CPUExecutionProvider"])
    network, draw, total = family_bundle("fcos").network(parts, params), np.random.default_rng(0), Differences()
    for size in SIZES:
        pixels = draw.integers(0, 256, (*size, 3), dtype=np.uint8)
        (ours,) = network(torch.from_numpy(pixels)[None].permute(0, 3, 1, 2), [size], [(1.0, 1.0)])
        feeds = {"image": pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255}
        names = [output.name for output in session.get_outputs()]
        theirs = dict(zip(names, map(torch.from_numpy, session.run(None, feeds)), strict=True))
        total.add(differences(ours, theirs))
    assert not total.unpaired and total.pairs > 50

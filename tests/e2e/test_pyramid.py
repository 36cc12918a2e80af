"""The four steps, joint training, detection and evaluation on a ResNet with a feature pyramid, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.artifacts.anchor_targets import AnchorTargets
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.maps import FeatureMaps
from pipeline.artifacts.proposals import StoredProposals
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.artifacts.tables import read_columns
from pipeline.artifacts.weights import load_part
from pipeline.building.layout import map_layout
from pipeline.building.trunk import load_trunk
from pipeline.families.faster_rcnn.training.batches import BatchLoader
from pipeline.feeding.maps import maps_of
from pipeline.feeding.views import ImageViews
from pipeline.params.file import load_params
from pipeline.runtime.variables import EVERY_ITERATIONS
from pipeline.views.declared_graph import read_declared_graph
from pipeline.views.panels.entries import entry_of
from pipeline.views.panels.registry import panels_of
from tests.conftest import TINY, Project, new_project
from tests.fidelity.conftest import files_of
from tests.in_process import command_of, prepared, run_stages

IMAGES, TESTED = 4, 2
TRAININGS = ("train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint")
STAGES = (
    *("dataset", "backbone", "resize", "frozen_features", "anchor_targets", "train_rpn_step1", "proposals_step1"),
    *("proposal_targets_step2", "train_head_step2", "features", "train_rpn_step3", "proposals_step3"),
    *("proposal_targets_step4", "train_head_step4", "finetune_joint"),
    *(f"{what}_{network}" for network in ("step2", "step4", "joint") for what in ("detect", "evaluate")),
)
CHANGES: dict[str, Any] = {
    "base": {"precision": "float32"},
    "dataset": {"shapes": {"train": IMAGES, "test": TESTED}},
    "backbone": {"name": "resnet18", "weights": "random", "neck": {"name": "fpn", "channels": 16}},
    "resize": {"shorter_side": 64, "longer_side": 96},
    "anchors": {"scales": [1.0]},
    "rpn": {"channels": 16},
    "proposals": {"pre_nms": 40, "post_nms": 30},
    "features": {"dtype": "float32", "keep_frozen_stages": True},
    "detect": {"pre_nms": 40, "proposals": 20, "recall_ranks": 30},
    **{stage: {"iterations": 2, "lr_drop_at": [1], "lr": 0.01} for stage in TRAININGS},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """All stages. Do not change it."""
    project = new_project(tmp_path_factory.mktemp("pyramid") / "project", TINY)
    project.set_params(CHANGES)
    run_stages(project.root, *STAGES)
    return project


def test_every_artifact_has_the_five_levels(run: Project) -> None:
    params = load_params(run.root / "params.yaml")
    layout, images = map_layout(params.backbone), ResizedImages(run.data / "resize")
    assert layout.strides == (4, 8, 16, 32, 64)
    targets = AnchorTargets(run.data / "anchor_targets")
    maps = {name: FeatureMaps(run.data / name) for name in ("features", "proposals_step1", "proposals_step3")}
    maps["detect_step4"] = FeatureMaps(run.data / "detect_step4")
    for name, own in maps.items():
        entries = list(own)
        assert len(entries) == (TESTED if name == "detect_step4" else 2 * IMAGES), name
        for entry in entries:
            cells = layout.sizes(*images.seen(entry).size)
            assert tuple(level.shape[-2:] for level in own[entry]) == cells, name
            if name == "features":
                assert targets[entry].anchors == 3 * sum(height * width for height, width in cells)
                assert all(level.shape[0] == 16 for level in own[entry])
    shards = sorted(path.name for path in (run.data / "features").glob("*.npz"))
    assert shards == ["maps-00000.npz", *(f"maps_level{level}-00000.npz" for level in range(1, 5))]
    for stage in ("proposals_step1", "proposals_step3"):
        proposals = StoredProposals(run.data / stage)
        assert all(0 < len(proposals[entry]) <= 30 for entry in maps["features"]), stage


def test_the_stored_maps_are_those_of_step_2s_trunk_and_neck(run: Project) -> None:
    params = load_params(run.root / "params.yaml")
    trunk, views = load_trunk(run.data / "train_head_step2", params.backbone), ResizedImages(run.data / "resize")
    stored = FeatureMaps(run.data / "features")
    with torch.inference_mode():
        for entry in stored:
            found = maps_of(trunk, ImageViews(views).load([entry]))
            for level, own in zip(found, stored[entry], strict=True):
                np.testing.assert_allclose(level[0].numpy(), own, rtol=1e-4, atol=1e-5)


def test_steps_3_and_4_have_the_trunk_and_neck_of_step_2_and_train_their_heads_alone(run: Project) -> None:
    trained = load_part(run.data / "train_head_step2", "trunk")
    first = load_part(run.data / "backbone", "trunk")
    necks = [name for name in trained if name.startswith("neck.")]
    assert len(necks) == 16, "a 1x1 and a 3x3 a level, with biases"
    assert any(not trained[name].equal(first[name]) for name in necks), "step 2 trains the neck"
    for stage, part in (("train_rpn_step3", "rpn"), ("train_head_step4", "head")):
        written = load_file(run.data / stage / "model.safetensors")
        assert {name.split(".")[0] for name in written} == {part}
    assert command_of(run.root, "detect_step4")[1]["trunk"] == "data/train_head_step2"
    joint = load_part(run.data / "finetune_joint", "trunk")
    assert any(not trained[name].equal(joint[name]) for name in necks), "joint training trains it too"
    frozen = [name for name in trained if name.startswith(("layers.conv1", "layers.bn1", "layers.layer1."))]
    assert frozen and all(joint[name].equal(first[name]) for name in frozen)


@pytest.mark.parametrize("stage", ["train_head_step2", "train_rpn_step3", "finetune_joint"])
def test_a_training_cut_short_leaves_the_bytes_of_one_that_was_not(
    run: Project, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(EVERY_ITERATIONS, "1")
    load = BatchLoader.__call__

    def load_killed(self: BatchLoader, iteration: int) -> Any:
        if iteration == 1:
            raise KeyboardInterrupt
        return load(self, iteration)

    work, cut = prepared(stage, run.root, tmp_path / stage, scratch=tmp_path / "scratch")
    with patch.object(BatchLoader, "__call__", load_killed), pytest.raises(KeyboardInterrupt):
        work(cut)
    work, resumed = prepared(stage, run.root, tmp_path / stage, scratch=tmp_path / "scratch")
    work(resumed)
    write_manifest(resumed.out, stage, resumed.kernels)
    assert files_of(resumed.out) == files_of(run.data / stage)


def test_inspect_shows_every_stage_level_by_level(run: Project) -> None:
    graph = read_declared_graph(run.root)

    def captions(stage: str, image_id: str) -> list[str]:
        command = graph.commands[stage]
        tiles = panels_of(command, run.root, entry_of(command, run.root, image_id), score=0.0, graph=graph)
        return [tile.caption for tile in tiles]

    train, test = "train_00001.mirrored", "test_00000"
    (frozen,) = [caption for caption in captions("frozen_features", train) if "mean of 64 channels" in caption]
    assert "level" not in frozen, "the frozen stages' own map, not one of the trunk's levels"
    for level, stride in enumerate((4, 8, 16, 32, 64)):
        prefix = f"level {level}, stride {stride}: "
        for stage, image_id, what in (
            ("features", train, "mean of 16 channels"),
            ("proposals_step3", train, "objectness"),
            ("detect_step4", test, "objectness"),
            ("anchor_targets", train, "locations"),
        ):
            assert any(prefix in own and what in own for own in captions(stage, image_id)), (stage, level)
    assert any("; pooled from level 0 (stride 4) " in own for own in captions("proposals_step3", train))
    assert any("; fg RoIs are pooled from level 0" in own for own in captions("proposal_targets_step4", train))


def test_detections_are_judged_with_the_recall_of_each_size(run: Project) -> None:
    for network in ("step2", "step4", "joint"):
        found = read_columns(run.data / f"detect_{network}/detections.parquet", DETECTIONS)
        assert np.isfinite(found["score"]).all()
        metrics = json.loads((run.data / f"evaluate_{network}/metrics.json").read_text())
        assert metrics["images"] == TESTED and 0 <= metrics["mAP50"] <= 1
        sizes = [metrics[f"proposal_recall50_{size}"] for size in ("small", "medium", "large")]
        assert metrics["proposal_recall50"] is not None
        known = [size for size in sizes if size is not None]
        assert min(known) <= metrics["proposal_recall50"] <= max(known)

"""`backbone.frozen_stages: all`: no stage trains anything of the backbone; a neck and the heads learn on its maps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.kept_maps import view_bytes, whole_layout
from pipeline.artifacts.maps import FeatureMaps
from pipeline.artifacts.weights import load_part
from pipeline.building.layout import trunk_settings
from pipeline.nn.backbones.resnet import ResNetTrunk
from pipeline.nn.backbones.vgg import VGGTrunk
from pipeline.params.file import load_params
from tests.conftest import TINY
from tests.e2e.fresh_run import change_params, new_root
from tests.in_process import run_stage, run_stages

BEFORE = ("dataset", "backbone", "resize", "anchor_targets")
STEPS_1_AND_2 = ("frozen_features", "train_rpn_step1", "proposals_step1", "proposal_targets_step2", "train_head_step2")
STEPS_3_AND_4 = ("features", "train_rpn_step3", "proposals_step3", "proposal_targets_step4", "train_head_step4")
TRAIN_A_TRUNK = ("train_rpn_step1", "train_head_step2", "finetune_joint")
PARTS = {
    "train_rpn_step1": ("trunk", "rpn"),
    "train_head_step2": ("trunk", "head"),
    "train_rpn_step3": ("rpn",),
    "train_head_step4": ("head",),
    "finetune_joint": ("trunk", "rpn", "head"),
}
ALL: dict[str, Any] = {
    "base": {"precision": "float32"},
    "dataset": {"shapes": {"train": 2}},
    "features": {"dtype": "float32", "keep_frozen_stages": True},
}
FPN: dict[str, Any] = {
    **ALL,
    "backbone": {
        "name": "resnet18",
        "weights": "random",
        "frozen_stages": "all",
        "size_divisible": 32,
        "neck": {"name": "fpn", "channels": 16, "norm": "none"},
    },
    "rpn": {"channels": 16},
    "roi_head": {"pool": "roi_align"},
}
WITHOUT_NECK: dict[str, dict[str, Any]] = {
    "C4": {
        **ALL,
        "backbone": {"name": "resnet18", "weights": "random", "frozen_stages": "all"},
        "roi_head": {"kind": "res5", "pool": "roi_align", "output_size": 4},
    },
    "tiny": {**ALL, "backbone": {"frozen_stages": "all"}},
}
KEEP = {"C4": "maps", "tiny": "none"}
CELLS = {"C4": (256, 8, 8), "tiny": (96, 16, 16)}
"""(D, Fh, Fw) of the trunk's one map of an image of 128 x 128 px."""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a pyramid up to joint training, on the maps of the frozen backbone."""
    root = new_root(tmp_path_factory.mktemp("run") / "kept", FPN)
    run_stages(root, *BEFORE, *STEPS_1_AND_2, *STEPS_3_AND_4, "finetune_joint")
    return root


def _same(before: dict[str, Tensor], after: dict[str, Tensor], prefix: str) -> set[bool]:
    """Whether the weights of a part of the trunk are the same, bit for bit."""
    return {before[name].equal(after[name]) for name in before if name.startswith(prefix)}


def test_the_neck_is_trained_wherever_a_trunk_is_and_the_backbone_nowhere(kept: Path) -> None:
    data = kept / "data"
    before = load_part(data / "backbone", "trunk")
    for stage in TRAIN_A_TRUNK:
        after = load_part(data / stage, "trunk")
        assert before.keys() == after.keys()
        # An output convolution of a level on which nothing was drawn has no gradient; the inner ones feed all below.
        assert _same(before, after, "layers.") == {True} and _same(before, after, "neck.inner_blocks.") == {False}, (
            stage
        )
    # Joint training starts from step 2's neck. Steps 3 and 4 have none that they could train.
    second, joint = (load_part(data / stage, "trunk") for stage in ("train_head_step2", "finetune_joint"))
    assert _same(second, joint, "neck.inner_blocks.") == {False}
    for stage in ("train_rpn_step3", "train_head_step4"):
        assert not load_part(data / stage, "trunk", optional=True)


def test_the_map_of_every_stage_that_the_neck_sees_is_kept(kept: Path) -> None:
    frozen, features = (FeatureMaps(kept / "data" / name) for name in ("frozen_features", "features"))
    assert len(frozen) == len(features) == 4
    for entry in frozen:
        assert [level.shape for level in frozen[entry]] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
        # What docs/scaling.md says of the disk.
        layout = whole_layout("resnet18", trunk_settings(load_params(kept / "params.yaml").backbone))
        assert sum(level.nbytes for level in frozen[entry]) == view_bytes(layout, *frozen.size(entry), 4)
        assert [level.shape for level in features[entry]] == [(16, side, side) for side in (32, 16, 8, 4, 2)]


def test_maps_that_are_kept_train_what_images_train(kept: Path, tmp_path: Path) -> None:
    """In float32 up to rounding, as an image and its mirror go through the backbone together."""
    root = tmp_path / "images"
    later = [*STEPS_1_AND_2, *STEPS_3_AND_4, "finetune_joint"]
    shutil.copytree(kept, root, ignore=shutil.ignore_patterns(*later))
    change_params(root, {"features": {"keep_frozen_stages": False}})
    run_stages(root, *later)
    assert not len(FeatureMaps(root / "data/frozen_features"))
    for stage, parts in PARTS.items():
        for part in parts:
            own, other = (load_part(run / "data" / stage, part) for run in (root, kept))
            for name, value in own.items():
                torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-5, msg=f"{stage}: {part}.{name}")


@pytest.mark.skipif(TINY["base"].get("precision") == "float32", reason="the processor is not to compute in bf16")
def test_in_bf16_they_train_the_same_weights_bit_for_bit(kept: Path, tmp_path: Path) -> None:
    models = []
    for keep in (True, False):
        changes = {"base": {"precision": "bf16"}, "features": {"dtype": "float16", "keep_frozen_stages": keep}}
        maps = run_stage("frozen_features", kept, tmp_path / f"maps-{keep}", changes)
        out = run_stage("train_rpn_step1", kept, tmp_path / f"rpn-{keep}", changes, frozen_features=maps)
        models.append((out / "model.safetensors").read_bytes())
    assert models[0] == models[1] != (kept / "data/train_rpn_step1/model.safetensors").read_bytes()


@pytest.mark.parametrize("name", [pytest.param("C4", marks=pytest.mark.long), "tiny"])
def test_without_a_neck_the_heads_alone_are_trained_and_are_judged(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = new_root(tmp_path, WITHOUT_NECK[name])
    change_params(root, {"features": {"keep": KEEP[name]}})
    run_stages(root, *BEFORE, "frozen_features")

    def refuse(*_: object) -> None:
        raise AssertionError("the trunk was run")

    with monkeypatch.context() as patched:
        for kind in (VGGTrunk, ResNetTrunk):
            patched.setattr(kind, "frozen", refuse)
        run_stages(root, *STEPS_1_AND_2[1:], *STEPS_3_AND_4, "finetune_joint")
    run_stages(root, "detect_joint", "evaluate_joint")
    before = load_part(root / "data/backbone", "trunk")
    for stage in TRAIN_A_TRUNK:
        assert _same(before, load_part(root / "data" / stage, "trunk"), "") == {True}, stage
    for part, earlier in (("rpn", "train_rpn_step3"), ("head", "train_head_step4")):
        joint, own = load_part(root / "data/finetune_joint", part), load_part(root / "data" / earlier, part)
        assert not all(own[key].equal(joint[key]) for key in own), part
    frozen, features = (FeatureMaps(root / "data" / stage) for stage in ("frozen_features", "features"))
    assert (len(frozen), len(features)) == (4, 4 if KEEP[name] == "maps" else 0)
    assert {level.shape for entry in frozen for level in frozen[entry]} == {CELLS[name]}
    for entry in features:
        np.testing.assert_array_equal(frozen[entry], features[entry])
    _check_judged(root, "evaluate_joint")


def test_the_pyramid_is_judged_too(kept: Path) -> None:
    run_stages(kept, "detect_step4", "evaluate_step4")
    _check_judged(kept, "evaluate_step4")


def _check_judged(root: Path, stage: str) -> None:
    metrics = json.loads((root / "data" / stage / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["images"] == 2 and 0 <= metrics["mAP50"] <= 1, metrics

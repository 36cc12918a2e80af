"""Maps of the frozen blocks in place of images: the same training."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.maps import FeatureMaps
from pipeline.nn.backbones.vgg import VGGTrunk
from tests.conftest import TINY, Project
from tests.e2e.stand_in import stand_in
from tests.fidelity.conftest import files_of
from tests.in_process import run_stage

KEPT = {"features": {"keep_frozen_stages": True}}


@pytest.fixture(scope="module")
def maps(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("maps") / "frozen_features"
    return run_stage("frozen_features", tiny_run.root, out, KEPT)


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_they_are_of_every_image_and_its_mirror_a_quarter_as_long_and_wide(maps: Path) -> None:
    kept = FeatureMaps(maps)
    assert len(kept) == 24
    assert {level.shape for entry in kept for level in kept[entry]} == {(32, 48, 48)}
    assert {kept.size(entry) for entry in kept} == {(192, 192)}


def test_nothing_is_kept_where_it_is_not_asked_for(tiny_run: Project, tmp_path: Path) -> None:
    assert len(FeatureMaps(tiny_run.data / "frozen_features")) == 0
    folder = run_stage("frozen_features", tiny_run.root, tmp_path / "none")
    assert {path.name for path in folder.iterdir()} == {"images.parquet", "manifest.json"}


@pytest.mark.parametrize("step", ["train_rpn_step1", "train_head_step2", "finetune_joint"])
def test_images_of_one_size_train_the_same_weights_bit_for_bit_and_no_frozen_block_runs(
    tiny_run: Project, maps: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a frozen block was run")

    monkeypatch.setattr(VGGTrunk, "frozen", refuse)
    run_stage(step, tiny_run.root, tmp_path / step, KEPT, frozen_features=maps)
    assert _digest(tmp_path / step) == _digest(tiny_run.data / step)


@pytest.mark.parametrize("name", ["features", "proposals_step1"])
def test_they_give_the_same_maps_and_proposals(
    tiny_run: Project, maps: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VGGTrunk, "frozen", None)
    run_stage(name, tiny_run.root, tmp_path / name, KEPT, frozen_features=maps)
    if name == "features" and TINY["base"].get("precision") == "float32":
        # An image and its mirror go through the frozen stages together, through the trunk one by one: in float32 sums
        # are taken in another order.
        own, other = FeatureMaps(tmp_path / name), FeatureMaps(tiny_run.data / name)
        for entry in other:
            np.testing.assert_allclose(own[entry][0], other[entry][0], rtol=1e-3, atol=1e-3)
        return
    assert files_of(tmp_path / name) == files_of(tiny_run.data / name)


def test_dvc_runs_what_reads_them_anew(tiny_run: Project, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.root, tmp_path / "copy", symlinks=True)
    copy = Project(tmp_path / "copy")
    copy.set_params({"features": {"keep_frozen_stages": True}})
    ran = copy.repro("proposals_step1", programs=stand_in(tmp_path / "bin", tiny_run))
    assert ran == ["frozen_features", "train_rpn_step1", "proposals_step1"]

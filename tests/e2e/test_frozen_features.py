"""Maps of the frozen blocks in place of images: the same training."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.maps import FeatureMaps
from pipeline.detector.vgg import VGGTrunk
from pipeline.params.file import load_params
from pipeline.stage import Stage
from stages.features import features
from stages.finetune_joint import finetune_joint
from stages.frozen_features import frozen_features
from stages.proposals import proposals
from stages.train_head import train_head
from stages.train_rpn import train_rpn
from tests.conftest import Project


def _stage(run: Project, name: str, out: Path, keep: bool = True, **inputs: Path) -> Stage:
    params = load_params(run.root / "params.yaml")
    params.features = params.features.model_copy(update={"keep_frozen_blocks": keep})
    found = {path.name: path for path in run.data.iterdir()}
    paths = {
        **{option: None for option in ("features", "rpn", "head", "trunk")},
        **{option: found[option] for option in ("resize", "backbone", "anchor_targets", "frozen_features")},
        **inputs,
    }
    out.mkdir()
    return Stage(name, params, out, paths)


@pytest.fixture(scope="module")
def maps(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("maps") / "frozen_features"
    frozen_features(_stage(tiny_run, "frozen_features", out, trunk=tiny_run.data / "backbone"))
    write_manifest(out, "frozen_features")
    return out


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_they_are_of_every_image_and_its_mirror_a_quarter_as_long_and_wide(maps: Path) -> None:
    kept = FeatureMaps(maps)
    assert len(kept) == 24
    assert {level.shape for entry in kept for level in kept[entry]} == {(32, 48, 48)}
    assert {kept.size(entry) for entry in kept} == {(192, 192)}


def test_nothing_is_kept_where_it_is_not_asked_for(tiny_run: Project, tmp_path: Path) -> None:
    assert len(FeatureMaps(tiny_run.data / "frozen_features")) == 0
    folder = tmp_path / "none"
    frozen_features(_stage(tiny_run, "frozen_features", folder, keep=False, trunk=tiny_run.data / "backbone"))
    assert {path.name for path in folder.iterdir()} == {"images.parquet"}


@pytest.mark.parametrize("step", ["train_rpn_step1", "train_head_step2", "finetune_joint"])
def test_images_of_one_size_train_the_same_weights_bit_for_bit_and_no_frozen_block_runs(
    tiny_run: Project, maps: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a frozen block was run")

    monkeypatch.setattr(VGGTrunk, "frozen", refuse)
    train, inputs = {
        "train_rpn_step1": (train_rpn, {}),
        "train_head_step2": (train_head, {"proposal_targets": "proposal_targets_step2"}),
        "finetune_joint": (
            finetune_joint,
            {"trunk": "train_head_step2", "rpn": "train_rpn_step3", "head": "train_head_step4"},
        ),
    }[step]
    given = {option: tiny_run.data / folder for option, folder in inputs.items()}
    train(_stage(tiny_run, step, tmp_path / step, frozen_features=maps, **given))
    assert _digest(tmp_path / step) == _digest(tiny_run.data / step)


@pytest.mark.parametrize("name", ["features", "proposals_step1"])
def test_they_give_the_same_maps_and_proposals(
    tiny_run: Project, maps: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VGGTrunk, "frozen", None)
    run, trained = {"features": (features, "train_head_step2"), "proposals_step1": (proposals, "train_rpn_step1")}[name]
    given = {"trunk": tiny_run.data / trained, "rpn": tiny_run.data / trained}
    run(_stage(tiny_run, name, tmp_path / name, frozen_features=maps, **given))
    files = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.is_file()}
    assert files == {file: (tiny_run.data / name / file).read_bytes() for file in files} and len(files) > 1


def test_dvc_runs_what_reads_them_anew_and_its_results_are_equal(tiny_run: Project, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.root, tmp_path / "copy", symlinks=True)
    copy = Project(tmp_path / "copy")
    copy.set_params({"features": {"keep_frozen_blocks": True}})
    result = copy.run("dvc", "repro", "proposals_step1")
    assert result.returncode == 0, result.stderr
    ran = [line.split("'")[1] for line in result.stdout.splitlines() if line.startswith("Running stage")]
    assert ran == ["frozen_features", "train_rpn_step1", "proposals_step1"]

"""`features.keep: none`: steps 3 and 4 run the frozen trunk anew and leave the same bytes as on cached maps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from benchmarks.kept_maps import view_bytes
from pipeline.artifacts.maps import FeatureMaps
from pipeline.artifacts.resized_images import ResizedImages
from pipeline.building.layout import map_layout
from pipeline.feeding.frozen_trunk import SharedMaps
from pipeline.feeding.maps import maps_of
from pipeline.nn.backbones.vgg import VGGTrunk
from pipeline.params.file import load_params
from pipeline.runtime.errors import InputError
from pipeline.runtime.launcher import launch
from pipeline.training.run import entries_of
from tests.e2e.fresh_run import SHORT, change_params, up_to_step_2
from tests.fidelity.conftest import files_of
from tests.in_process import prepared, run_stages

LATER = ("train_rpn_step3", "proposals_step3", "proposal_targets_step4", "train_head_step4")
FPN = {
    "backbone": {
        "name": "resnet18",
        "weights": "random",
        "size_divisible": 32,
        "neck": {"name": "fpn", "channels": 16, "norm": "none"},
    },
    "rpn": {"channels": 16},
    "roi_head": {"pool": "roi_align"},
}
RUNS: dict[str, dict[str, Any]] = {
    # Sums are taken in another order in a larger batch of float32.
    "one level": {"base": {"precision": "float32"}, "features": {"dtype": "float16", "keep_frozen_stages": True}},
    "FPN": {**FPN, "features": {"dtype": "float32"}},
}


@pytest.fixture(scope="module")
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run up to the stage `features`, of images in two sizes."""
    made = tmp_path_factory.mktemp("run")
    shapes = {"shapes": {"train": 2}}
    return up_to_step_2(
        made, {**RUNS[request.param], "dataset": shapes, "resize": {"shorter_side": 128, "extra_sides": [97]}}
    )


def _later(root: Path, out: Path, features: dict[str, Any], images: int = 2) -> dict[str, Any]:
    """The files of the stages after `features`, run in a copy of a run."""
    shutil.copytree(root, out, symlinks=True)
    schedule = {**SHORT, "images_per_iteration": images}
    change_params(out, {"features": features, "train_rpn_step3": schedule, "train_head_step4": schedule})
    run_stages(out, "features", *LATER)
    return {name: files_of(out / "data" / name) for name in LATER}


@pytest.mark.parametrize(
    ("root", "images"),
    [
        ("one level", 1),
        ("FPN", 4),
        pytest.param("one level", 4, marks=pytest.mark.long),
        pytest.param("FPN", 1, marks=pytest.mark.long),
    ],
    indirect=["root"],
)
def test_every_later_artifact_has_the_same_bytes(root: Path, tmp_path: Path, images: int) -> None:
    kept = _later(root, tmp_path / "maps", {"keep": "maps"}, images)
    anew = _later(root, tmp_path / "none", {"keep": "none"}, images)
    counts = {keep: len(FeatureMaps(tmp_path / keep / "data/features")) for keep in ("maps", "none")}
    assert counts == {"maps": 8, "none": 0}
    for name in LATER:
        assert anew[name] == kept[name], name
    # What docs/scaling.md says of the disk.
    maps, params = FeatureMaps(tmp_path / "maps/data/features"), load_params(tmp_path / "maps/params.yaml")
    layout, value_bytes = map_layout(params.backbone), {"float16": 2, "float32": 4}[params.features.dtype]
    for entry in maps:
        assert sum(level.nbytes for level in maps[entry]) == view_bytes(layout, *maps.size(entry), value_bytes)


@pytest.mark.parametrize("root", ["one level"], indirect=True)
def test_the_trunk_starts_from_the_maps_of_its_frozen_stages_where_they_are_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(FeatureMaps(root / "data/frozen_features"))

    def refuse(*_: object) -> None:
        raise AssertionError("a frozen stage was run")

    monkeypatch.setattr(VGGTrunk, "frozen", refuse)
    _later(root, tmp_path / "none", {"keep": "none"})


@pytest.mark.parametrize("root", ["one level"], indirect=True)
def test_the_trunk_is_neither_in_the_state_of_a_training_nor_trained(root: Path, tmp_path: Path) -> None:
    _, stage = prepared("train_rpn_step3", root, tmp_path / "out", {"features": {"keep": "none"}})
    accelerator = launch(stage.params.base)
    shared = SharedMaps(stage, accelerator)
    assert shared.trunk is not None
    step = nn.Module()
    step.trunk = shared.trunk  # type: ignore[assignment]
    assert not list(step.parameters()) and not step.state_dict()
    assert list(shared.sizes) == list(entries_of(ResizedImages(root / "data/resize", "train"), mirror=True))
    with accelerator.autocast():
        maps = maps_of(shared.trunk, shared.source.load(list(shared.sizes)[:2]))
    assert not any(level.requires_grad or level.is_inference() for level in maps)


@pytest.mark.parametrize("root", ["one level"], indirect=True)
def test_a_value_that_float16_cannot_hold_is_told_as_the_stage_features_tells_it(root: Path, tmp_path: Path) -> None:
    overflow = {"features": {"keep": "none", "dtype": "float16"}}
    _, stage = prepared("train_rpn_step3", root, tmp_path / "out", overflow)
    accelerator = launch(stage.params.base)
    shared = SharedMaps(stage, accelerator)
    assert shared.trunk is not None
    *_, last = (layer for layer in shared.trunk._trunk.modules() if isinstance(layer, nn.Conv2d))
    last.weight.data.fill_(1e9)
    entry = next(iter(shared.sizes))
    with (
        accelerator.autocast(),
        pytest.raises(InputError, match=f"features of image {entry.image_id} overflow float16; set features.dtype"),
    ):
        maps_of(shared.trunk, shared.source.load([entry]))

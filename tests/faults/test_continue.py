"""Stages that write shards, killed with `kill -9` at chosen writes: the next run goes on, and ends with the same bytes.

The kill comes from inside, when a file of a chosen name is renamed, so that every run is killed at the same place.
"""

from __future__ import annotations

import copy
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.artifacts.atomic import UNFINISHED
from pipeline.artifacts.chunks import ChunkedWork
from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.maps import MapWriter
from pipeline.artifacts.resized_tables import RESIZED_BOXES, RESIZED_IMAGES
from pipeline.artifacts.tables import box_columns
from pipeline.artifacts.weights import save_parts
from pipeline.building.trunk import new_trunk
from pipeline.families.faster_rcnn.building.roi_head import new_head
from pipeline.families.faster_rcnn.building.rpn import new_rpn
from pipeline.params.file import load_params
from pipeline.runtime.variables import PROCESSES
from tests.conftest import TINY, Project, apply_overlay, new_project
from tests.faults.at_rename import signal_at_rename
from tests.fidelity.conftest import files_of
from tests.forked import run_forked
from tests.in_process import words_of

IMAGES = 40  # chunks of 16, 16 and 8
HEIGHT, WIDTH = 64, 96


@dataclass
class Workplace:
    """A project whose stages' inputs are laid out by hand."""

    project: Project

    def run(self, *command: str, kill_at: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in the project, killed before or after a file of a name is renamed: `after maps-00000.npz`."""
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.project.root),
            "DVC_NO_ANALYTICS": "1",
            **(self._killed(*kill_at.split()) if kill_at else {}),
        }
        return subprocess.run(
            command, cwd=self.project.root, env=environment, capture_output=True, text=True, check=False
        )

    def _killed(self, when: str, name: str) -> dict[str, str]:
        return signal_at_rename(self.project.root.parent / "site", self.project.root, when, name, signal.SIGKILL)

    def stage(self, name: str, kill_at: str | None = None, parent: str = "data", processes: int = 1) -> str:
        """Run a stage as dvc.yaml wires it, but for the folder of its output; what it said."""
        words = words_of(self.project.root, name)
        words[words.index("--out") + 1] = f"{parent}/{name}"
        environment = {PROCESSES: str(processes), **(self._killed(*kill_at.split()) if kill_at else {})}
        ended = run_forked(self.project.root, environment, *words)
        killed = -signal.SIGKILL if processes == 1 else 1  # of several processes not the stage's own
        assert ended.returncode == (killed if kill_at else 0), ended.stderr
        return ended.stderr

    def undisturbed(self, name: str) -> dict[str, bytes]:
        """The files that a stage writes when nobody kills it."""
        assert "resumes" not in self.stage(name, parent="undisturbed")
        return files_of(self.project.root / "undisturbed" / name)

    def assert_only(self, name: str, files: dict[str, bytes]) -> None:
        """The stage's folder holds these bytes, and nothing else is left of it."""
        found = files_of(self.project.data / name)
        assert sorted(found) == sorted(files)
        assert [file for file in files if found[file] != files[file]] == []
        assert [path.name for path in self.project.data.glob(f".{name}*")] == []


PARAMS: dict[str, Any] = {
    "base": {"threads": 1},
    "anchors": {"scales": [1.25, 2.5]},
    "proposals": {"min_size": 2.0, "pre_nms": 100, "post_nms": 20},
    "detect": {"pre_nms": 100, "proposals": 10, "recall_ranks": 20},
}


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Resized images of train and as many of test, and a network of random weights in every folder of weights."""
    folder = tmp_path_factory.mktemp("continue")
    project = new_project(folder / "project", TINY)
    project.set_params(PARAMS)
    _write_images(project.data / "resize")
    params = load_params(project.root / "params.yaml")
    trunk = new_trunk(params.backbone)
    rpn = new_rpn(trunk.layout, params.anchors, params.rpn)
    head = new_head(trunk.layout, 4, params.roi_head, params.backbone)
    generator = torch.Generator().manual_seed(0)
    trunk.initialise(generator)
    rpn.initialise(generator)
    head.initialise_hidden(generator)
    head.initialise_outputs(generator)
    for name in ("train_rpn_step1", "train_head_step2", "train_rpn_step3"):
        (project.data / name).mkdir()
        save_parts(project.data / name, {"trunk": trunk, "rpn": rpn, "head": head})
    for name in ("dataset", "external_proposals"):
        (project.data / name).mkdir(exist_ok=True)
    with ChunkedWork(project.data / "frozen_features", []) as work:
        MapWriter(work, "maps")
    for name in ("resize", "frozen_features", "train_rpn_step1", "train_head_step2", "train_rpn_step3"):
        write_manifest(project.data / name, name)
    return Workplace(project)


def _write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "classes.json").write_text('["background", "disc", "box", "star"]')
    ids = {f"{split}_{place:05d}": split for split in ("test", "train") for place in range(IMAGES)}
    with ChunkedWork(folder, list(ids)) as work:
        shards, images = work.shards("pixels"), work.table("images.parquet", RESIZED_IMAGES)
        boxes = work.table("boxes.parquet", RESIZED_BOXES)
        for place, image_id in enumerate(work.through(work.missing)):
            pixels = np.random.default_rng(place).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            size = {"width": WIDTH, "height": HEIGHT, "original_width": WIDTH, "original_height": HEIGHT}
            row = {"image_id": image_id, "view": 0, "split": ids[image_id], "scale_x": 1.0, "scale_y": 1.0, **size}
            images.write({**row, "shard": shards.add({image_id: pixels})})
            own = {"label": 1, "difficult": False, "iscrowd": False}
            boxes.write(
                {"image_id": image_id, "view": 0, **own, **box_columns(np.array([[8, 8, 40, 40 + place % 20]]))}
            )


@pytest.fixture
def workplace(laid_out: Workplace, tmp_path: Path) -> Workplace:
    """A copy to run in, with the times of change of its files, by which folders count as the same."""
    shutil.copytree(laid_out.project.root, tmp_path / "project", symlinks=True)
    return Workplace(Project(tmp_path / "project"))


@pytest.mark.long
def test_features_killed_again_and_again(workplace: Workplace) -> None:
    undisturbed = workplace.undisturbed("features")
    assert "resumes" not in workplace.stage("features", kill_at="after chunk-00000.json")
    assert "resumes after 16 of 40 images" in workplace.stage("features", kill_at="before chunk-00001.json")
    assert "resumes after 16 of 40 images" in workplace.stage("features", kill_at="before images.parquet")
    assert not (workplace.project.data / "features").exists()
    assert "resumes after 40 of 40 images" in workplace.stage("features")
    workplace.assert_only("features", undisturbed)


def test_other_parameters_start_afresh(workplace: Workplace) -> None:
    workplace.stage("features", kill_at="after chunk-00000.json")
    (workplace.project.data / ".features.partial" / "of before").touch()
    workplace.project.set_params({"features": {"dtype": "float32"}})
    assert "resumes" not in workplace.stage("features")
    assert not (workplace.project.data / "features" / "of before").exists()
    assert list(workplace.project.data.glob(".features*")) == []


@pytest.mark.long
def test_damaged_chunks_are_done_again(workplace: Workplace) -> None:
    undisturbed = workplace.undisturbed("proposals_step1")
    workplace.stage("proposals_step1", kill_at="after chunk-00001.json")
    half = workplace.project.data / ".proposals_step1.partial"
    shard = half / "objectness-00000.npz"
    shard.write_bytes(shard.read_bytes()[:-7])
    assert "resumes after 16 of 40 images" in workplace.stage("proposals_step1", kill_at="after chunk-00000.json")
    part = half / UNFINISHED / "proposals-00001.parquet"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    assert "resumes after 16 of 40 images" in workplace.stage("proposals_step1")
    workplace.assert_only("proposals_step1", undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("name", ["anchor_targets", "detect_step2"])
def test_other_stages_go_on_too(workplace: Workplace, name: str) -> None:
    undisturbed = workplace.undisturbed(name)
    workplace.stage(name, kill_at="after chunk-00000.json")
    assert "resumes after 16 of 40 images" in workplace.stage(name)
    workplace.assert_only(name, undisturbed)


@pytest.mark.long
def test_proposals_from_maps_go_on_too(workplace: Workplace) -> None:
    workplace.stage("features")
    undisturbed = workplace.undisturbed("proposals_step3")
    workplace.stage("proposals_step3", kill_at="before chunk-00002.json")
    assert "resumes after 32 of 40 images" in workplace.stage("proposals_step3")
    workplace.assert_only("proposals_step3", undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("name", ["proposals_step1", "features", "detect_step2"])
def test_networks_go_on_in_one_process_after_two(workplace: Workplace, name: str) -> None:
    undisturbed = workplace.undisturbed(name)
    said = workplace.stage(name, kill_at="after chunk-00000.json", processes=2)
    assert f"{name}: error: one of its processes was killed (SIGKILL)" in said
    assert "resumes after " in workplace.stage(name)
    workplace.assert_only(name, undisturbed)


@pytest.mark.long
@pytest.mark.parametrize("normalise", ["fixed", "measured"])
def test_proposal_targets_go_on_in_one_process_after_two(workplace: Workplace, normalise: str) -> None:
    name = "proposal_targets_step2"
    workplace.project.set_params({"proposal_targets": {"normalise": normalise}})
    workplace.stage("proposals_step1")
    undisturbed = workplace.undisturbed(name)
    workplace.stage(name, kill_at="after chunk-00000.json", processes=2)
    assert "resumes after " in workplace.stage(name)
    workplace.assert_only(name, undisturbed)


@pytest.mark.long
def test_networks_in_four_processes_leave_the_bytes_of_one(workplace: Workplace) -> None:
    for name in ("proposals_step1", "proposal_targets_step2", "features", "proposals_step3", "detect_step2"):
        workplace.stage(name, parent="one")
        said = workplace.stage(name, processes=4)
        assert "resumes" not in said
        workplace.assert_only(name, files_of(workplace.project.root / "one" / name))


def test_dvc_goes_on_with_a_killed_stage(tmp_path: Path, laid_out: Workplace) -> None:
    params = apply_overlay(copy.deepcopy(TINY), {"dataset": {"shapes": {"train": 60, "test": 10}}})
    workplace = Workplace(new_project(tmp_path / "project", params))
    killed = workplace.run("dvc", "repro", "resize", kill_at="after chunk-00000.json")
    assert killed.returncode != 0
    undisturbed = workplace.undisturbed("resize")
    assert not (workplace.project.data / "resize").exists()
    again = workplace.run("dvc", "repro", "resize")
    assert again.returncode == 0
    assert "resumes after 16 of 70 images" in again.stderr
    workplace.assert_only("resize", undisturbed)

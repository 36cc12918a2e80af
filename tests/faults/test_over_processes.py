"""Every stage that goes image by image leaves the same bytes in any number of processes."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.variables import PROCESSES
from tests.conftest import ROOT, TINY, apply_overlay, made_once, new_project
from tests.families.retinanet_project import RETINANET_TINY, write_project
from tests.fidelity.conftest import files_of
from tests.in_process import run_command, run_stages, words_of

IMAGES: dict[str, Any] = {
    "dataset": {"shapes": {"train": 140, "test": 70, "image_size": 192, "max_objects": 3}},  # nine chunks of at most 16
    "resize": {"shorter_side": 64, "longer_side": 96},
}


def with_images(params: dict[str, Any]) -> dict[str, Any]:
    return apply_overlay(copy.deepcopy(params), IMAGES)


def in_processes(root: Path, name: str, count: int) -> dict[str, bytes]:
    """The files that a stage writes in so many processes, of four in ones that may be forked, as where DVC runs it; it
    writes into another folder than the stage's own."""
    words = words_of(root, name)
    folder = root / f"of_{count}" / name
    words[words.index("--out") + 1] = str(folder)
    if not (root / "data/code").exists():
        at = words.index("--code")
        del words[at : at + 2]
    if count == 4:
        environment = {**os.environ, PROCESSES: "4", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", *words]
        ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(PROCESSES, str(count))
            ended = run_command(root, *words)
    assert ended.returncode == 0, ended.stderr
    return files_of(folder)


def assert_equal(root: Path, name: str, count: int) -> None:
    one, several = in_processes(root, name, 1), in_processes(root, name, count)
    assert sorted(one) == sorted(several)
    assert [file for file in one if one[file] != several[file]] == []


@pytest.fixture(scope="session")
def four_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its images resized."""

    def make(folder: Path) -> None:
        run_stages(new_project(folder, with_images(TINY)).root, "dataset", "resize")

    return made_once(tmp_path_factory, "four_steps_of_140_images", make)


@pytest.fixture
def project(four_steps: Path, tmp_path: Path) -> Path:
    """A copy to run in."""
    return Path(shutil.copytree(four_steps, tmp_path / "project", symlinks=True))


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", ["resize", "anchor_targets"])
def test_data_stages(project: Path, name: str, count: int) -> None:
    assert_equal(project, name, count)


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 4])
def test_dense_stages(tmp_path: Path, count: int) -> None:
    root = write_project(tmp_path / "project", with_images(RETINANET_TINY))
    run_stages(root, "dataset", "backbone", "resize", "retinanet_targets", "train_retinanet")
    assert_equal(root, "retinanet_targets", count)
    assert_equal(root, "detect_retinanet", count)

"""What a run is refused for before DVC starts, a data/ on another disk among it; and which warnings of DVC are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.orchestrate.repro import run_repro
from pipeline.runtime.data_folder import check_data_folder
from pipeline.runtime.errors import InputError
from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "data/raw").mkdir(parents=True)
    (folder / ".dvc").mkdir()
    return folder


def test_repro_refuses_a_data_root_at_which_dvc_would_wait_for_ever(project: Path) -> None:
    os.mkfifo(project / "data/raw/pipe")
    with pytest.raises(InputError, match=r"data/raw: pipe is not a file but a pipe, socket or device"):
        run_repro(project, [])


def test_repro_refuses_data_on_another_disk(project: Path) -> None:
    (project / "data").rename(project.parent / "disk")
    (project / "data").symlink_to("../disk")
    with pytest.raises(InputError, match=r"data: leads to .*/disk, outside of the project"):
        run_repro(project, [])


def test_data_may_be_a_link_within_a_project_that_is_reached_by_a_link(project: Path) -> None:
    (project / "store").mkdir()
    (project / "data").rename(project / "store/data")
    (project / "data").symlink_to("store/data")
    (project.parent / "by_link").symlink_to("project")
    check_data_folder(project.parent / "by_link/data", project)
    check_data_folder(project / "data", project.parent / "by_link")
    check_data_folder(project / "none", project)


def test_a_folder_that_is_named_outside_of_the_project_is_no_output_of_dvcs(project: Path) -> None:
    (project.parent / "elsewhere").mkdir()
    check_data_folder(project.parent / "elsewhere", project)


def test_a_stage_that_dvc_runs_refuses_data_on_another_disk(project: Path) -> None:
    (project / "data").rename(project.parent / "disk")
    (project / "data").symlink_to("../disk")
    command = [sys.executable, "-m", "stages.dataset", "--raw", "data/raw", "--params", "base", "--out", "data/dataset"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(project)}
    result = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("dataset: error: data: leads to ") and "mount --bind" in line

"""Bundles of the tiny run, and copies of it to spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.in_process import run_frcnn


@pytest.fixture(scope="session")
def joint_bundle(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The joint network of the tiny run, bundled by the command line."""
    out = tmp_path_factory.mktemp("bundle") / "joint"
    result = run_frcnn(tiny_run.root, "bundle", "--network", "joint", "--out", str(out))
    assert result.returncode == 0, result.stderr
    assert f"{out}: the joint network, 3 classes" in result.stdout
    return out


@pytest.fixture
def spoiled(joint_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to be damaged."""
    return Path(shutil.copytree(joint_bundle, tmp_path / "spoiled"))


@pytest.fixture
def finished_run(tiny_run: Project, tmp_path: Path) -> Project:
    """A copy of the finished run without its cache, to change or break."""
    shutil.copytree(tiny_run.root, tmp_path / "copy", ignore=shutil.ignore_patterns(".dvc", ".git"))
    return Project(tmp_path / "copy")

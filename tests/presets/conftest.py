"""A folder where presets can be applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.defaults import copy_graphs


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """It has the graphs of all families, and a params.yaml that no preset keeps."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    copy_graphs(folder)
    (folder / "params.yaml").write_text("nothing: of this survives\n")
    return folder

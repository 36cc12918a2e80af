"""`frcnn proposals` in a project of a family without proposals."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from tests.families import points_project


def test_a_family_without_proposals_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with points_project.visible():
        monkeypatch.chdir(points_project.write_project(tmp_path, {}))
        result = CliRunner().invoke(app, ["proposals", "export", "out.pkl"])
    assert str(result.exception).startswith("Points: detects without proposals, so that there are none to export; give")
    assert "\n" not in str(result.exception) and not (tmp_path / "out.pkl").exists()

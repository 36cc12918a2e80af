"""Two families in one project, one after the other: what one has run is kept while the other is at work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.presets import apply
from pipeline.presets.apply import apply_preset
from tests.conftest import TINY, Project
from tests.families.joint_project import JOINT_TINY
from tests.families.points_project import POINTS_TINY, install, visible


def test_back_at_a_preset_of_a_family_nothing_reruns(
    tiny_run: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(Path(shutil.copytree(tiny_run.root, tmp_path / "project", symlinks=True)))
    install(project.root)
    monkeypatch.setattr(apply, "_PRESETS", project.root / "pipeline/presets")

    def apply_tiny(preset: str) -> None:
        with visible():
            apply_preset(project.root, preset, [])
        project.set_params({"shapes_points": POINTS_TINY, "shapes_joint": JOINT_TINY}.get(preset, TINY))

    before = project.lock()
    apply_tiny("shapes_points")
    assert project.repro("points_targets") == ["points_targets"]
    assert {path.name for path in (project.data / "code").iterdir()} >= {"train_dense-points.json", "resize.json"}
    assert not (project.data / "code/train_rpn.json").exists()
    apply_tiny("shapes_joint")
    assert project.repro("frozen_features", "anchor_targets") == [], "shared with the default graph"
    apply_tiny("default")
    assert project.repro() == []
    after = project.lock()
    assert after.pop("points_targets") and after == before

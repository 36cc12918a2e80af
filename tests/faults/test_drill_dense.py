"""One-stage detectors' graphs killed with -9 at random moments, started again until they are done: the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.families.registry import family_of
from pipeline.graphs.composing import composed
from pipeline.presets.defaults import default_text
from tests.conftest import ROOT, TINY, Project, new_project
from tests.families.drawn_project import SSD as DRAWN
from tests.families.retinanet_project import RETINANET_TINY
from tests.faults.test_drill import KILLS, assert_as_undisturbed, killed_run

TRAINING = {"iterations": 12, "images_per_iteration": 2, "lr_drop_at": [9], "warmup_iterations": 1}
TINY_OF: dict[str, dict[str, Any]] = {
    "retinanet": {**RETINANET_TINY, "train_retinanet": TRAINING},
    "ssd": {
        **{section: TINY[section] for section in ("dataset", "solver", "evaluate")},
        "base": {**TINY["base"], "mirror": False},
        "augment": DRAWN,
        "backbone": {"weights": "random"},
        "resize": {"fixed_width": 128, "fixed_height": 96, "keep": "none"},
        "train_ssd": TRAINING,
        "detect_ssd": {"score_threshold": 0.0},
    },
}


def _project(root: Path, family: str) -> Project:
    project = new_project(root, {})
    (root / "dvc.yaml").write_text(composed(ROOT, family))
    (root / "params.yaml").write_text(default_text(family_of(family)))
    project.set_params(TINY_OF[family])
    return project


@pytest.mark.long
@pytest.mark.parametrize("family", TINY_OF)
def test_a_dense_graph_killed_again_and_again_ends_like_an_undisturbed_one(tmp_path: Path, family: str) -> None:
    undisturbed, project = _project(tmp_path / "undisturbed", family), _project(tmp_path / "drill" / "project", family)
    trained = f"train_{family}"
    assert trained in undisturbed.repro()
    project.repro(f"{family}_targets")  # so that kills fall into what only these graphs have
    fell_into = killed_run(project, KILLS // 2, 3, 1)
    assert trained in fell_into
    assert set(project.lock()) == set(yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"])
    assert_as_undisturbed(project, undisturbed)

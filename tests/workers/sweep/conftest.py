"""A project with a sweep, and workers that are done at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pipeline.runtime.errors import InputError
from pipeline.workers import sweep, sweep_file
from pipeline.workers.setting import Experiments, Setting
from tests.conftest import ROOT
from tests.workers.conftest import graph_of
from tests.workers.sweep.figures import RATES, figures_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project that has nothing but parameters, with val images."""
    text = (ROOT / "params.yaml").read_text()
    assert text.count("    val: 0") == 1
    root = tmp_path / "project"
    (root / ".dvc/tmp").mkdir(parents=True)
    (root / "params.yaml").write_text(text.replace("    val: 0", "    val: 8"))
    (root / "dvc.yaml").write_text(graph_of("step2", "step4", "joint"))
    (root / "sweep.yaml").write_text(RATES)
    return root


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Experiments]:
    """Workers that are done at once with all but what is called r-2 with `failing`; what they were asked for."""
    runs: list[Experiments] = []

    def run(root: Path, stages: Sequence[str], log: Callable[[str], None], experiments: Experiments) -> None:
        runs.append(experiments)
        failing = (root / "failing").read_text().split() if (root / "failing").exists() else []
        figures = {
            name: figures_of(setting.family(), name)
            for name, setting in experiments.settings().items()
            if name not in failing
        }
        (root / ".dvc/tmp/frcnn-sweep.json").write_text(json.dumps(figures))
        if failing:
            raise InputError("train_head_step4: loss is not finite at iteration 3")

    monkeypatch.setattr(sweep, "run_on_workers", run)
    return runs


@pytest.fixture
def two_presets(root: Path, other_family: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """`default` and `other` as presets, each of a family of its own."""
    texts = {
        "default": ((root / "dvc.yaml").read_text(), (root / "params.yaml").read_text()),
        "other": (other_family.graph, other_family.params),
    }
    monkeypatch.setattr(sweep_file, "preset_texts", lambda _, name: texts[name])

"""`frcnn preset --length`: every training shorter or longer by one factor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.params.file import load_params
from pipeline.presets.apply import apply_preset, preset_names, preset_texts
from pipeline.presets.length import set_length
from pipeline.runtime.errors import InputError
from tests.defaults import copy_graphs


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    copy_graphs(tmp_path)
    return tmp_path


def trainings(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: section for name, section in content.items() if isinstance(section, dict) and "lr_drop_at" in section}


@pytest.mark.parametrize("name", preset_names())
def test_every_training_of_a_preset_becomes_a_tenth_and_stays_valid(project: Path, name: str) -> None:
    apply_preset(project, name, [], length=0.1)
    load_params(project / "params.yaml")  # which checks them
    before = yaml.safe_load(preset_texts(project, name)[1])
    after = yaml.safe_load((project / "params.yaml").read_text())
    assert {**after, **trainings(before)} == before  # all else stays, the trunk's pre-training too
    assert trainings(after)
    for stage, own in trainings(after).items():
        assert own["iterations"] == max(round(before[stage]["iterations"] * 0.1), 1)
        assert own["warmup_iterations"] <= own["iterations"]
        assert all(drop < own["iterations"] for drop in own["lr_drop_at"])


def test_drops_that_fall_together_are_one_and_come_before_the_end() -> None:
    rest = {"images_per_iteration": 2, "lr": 0.1, "lr_drop_factor": 0.1}
    training = {"iterations": 90, "lr_drop_at": [60, 62, 80], "warmup_iterations": 10, **rest}
    set_length({"train": training, "seed": 0}, 0.05)
    assert training == {"iterations": 4, "lr_drop_at": [3], "warmup_iterations": 0, **rest}
    set_length({"train": training}, 10)
    assert training == {"iterations": 40, "lr_drop_at": [30], "warmup_iterations": 0, **rest}


def test_a_setting_of_ones_own_counts_after_the_factor(project: Path) -> None:
    lines = apply_preset(project, "default", ["train_rpn_step1.iterations=77"], length=0.5)
    assert load_params(project / "params.yaml").train_rpn_step1.iterations == 77
    assert "params.yaml: default with 0.5 times the iterations, train_rpn_step1.iterations=77" in lines


def test_a_training_of_one_iteration_has_no_drop() -> None:
    training = {
        "iterations": 90,
        "lr_drop_at": [60],
        "warmup_iterations": 10,
        "images_per_iteration": 2,
        "lr": 0.1,
        "lr_drop_factor": 0.1,
    }
    set_length({"train": training}, 0.001)
    assert (training["iterations"], training["lr_drop_at"]) == (1, [])


@pytest.mark.parametrize("length", ["0", "-1", "nan", "inf", "1e306", "1001"])
def test_a_factor_that_is_none_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch, length: str) -> None:
    monkeypatch.chdir(project)
    result = CliRunner().invoke(app, ["preset", "default", "--length", length])
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith("--length ")
    assert not (project / "params.yaml").exists()

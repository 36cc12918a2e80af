"""Steps 3 and 4 read cached maps by default: no trunk is run, and none could be changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline.artifacts.weights import load_part
from pipeline.nn.backbones.vgg import VGGTrunk
from tests.conftest import ROOT, Project
from tests.fidelity.conftest import files_of
from tests.in_process import run_stage

STEPS_3_AND_4 = ("train_rpn_step3", "proposals_step3", "proposal_targets_step4", "train_head_step4")


@pytest.fixture
def no_trunk_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a trunk was run")

    monkeypatch.setattr(VGGTrunk, "forward", refuse)


@pytest.mark.usefixtures("no_trunk_runs")
def test_steps_3_and_4_complete_without_running_a_trunk(tiny_run: Project, tmp_path: Path) -> None:
    for stage in ("train_rpn_step3", "proposals_step3", "train_head_step4"):
        run_stage(stage, tiny_run.root, tmp_path / stage)
        # The same stage run by DVC left the same bytes.
        assert files_of(tmp_path / stage) == files_of(tiny_run.data / stage), stage


def test_steps_3_and_4_are_given_step_2s_trunk_and_no_other() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    given = {name: stages[name]["cmd"].partition("--trunk ")[2].split(" ")[0] for name in STEPS_3_AND_4}
    # For features.keep none; the test above proves that without it no trunk runs.
    assert given == {**dict.fromkeys(STEPS_3_AND_4, "data/train_head_step2"), "proposal_targets_step4": ""}
    # Step 3 is given it for the RPN of an initial detector.
    assert [name for name in STEPS_3_AND_4 if "--backbone" in stages[name]["cmd"]] == ["train_rpn_step3"]


def test_a_training_stage_writes_only_the_parts_it_trained(tiny_run: Project) -> None:
    from safetensors import safe_open

    parts = {}
    for stage in ("train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint"):
        with safe_open(tiny_run.data / stage / "model.safetensors", "pt") as file:
            parts[stage] = {name.split(".")[0] for name in file.keys()}  # noqa: SIM118
    assert parts == {
        "train_rpn_step1": {"trunk", "rpn"},
        "train_head_step2": {"trunk", "head"},
        "train_rpn_step3": {"rpn"},
        "train_head_step4": {"head"},
        "finetune_joint": {"trunk", "rpn", "head"},
    }


def test_frozen_stages_never_change_and_later_ones_do(tiny_run: Project) -> None:
    before = load_part(tiny_run.data / "backbone", "trunk")
    for stage in ("train_rpn_step1", "train_head_step2", "finetune_joint"):
        after = load_part(tiny_run.data / stage, "trunk")
        # conv1 and conv2 with their batch norms are layers 0 to 6 of the tiny trunk.
        for name, value in before.items():
            layer = int(name.split(".")[1]) if name.startswith("layers.") else -1
            assert after[name].equal(value) == (layer < 7), (stage, name)

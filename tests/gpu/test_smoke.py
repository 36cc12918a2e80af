"""On a GPU: the detector agrees with the CPU, repeats itself bit for bit where asked to, and trains in every stage."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.gpu_network import FULL, Network, joint_loss, make_batch
from benchmarks.gpu_smoke import agreement, is_agreed, repeats
from pipeline.nn.arithmetic import full_float32, set_determinism
from tests.conftest import TINY, apply_overlay, new_project

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
SETTING = replace(FULL, batch=1)


@pytest.fixture
def deterministic() -> Iterator[torch.device]:
    set_determinism(True)
    yield torch.device("cuda")
    set_determinism(False)


def test_training_twice_gives_the_same_bits(deterministic: torch.device) -> None:
    assert repeats(SETTING, deterministic)


def test_roi_pool_has_no_deterministic_gradient(deterministic: torch.device) -> None:
    network = Network(SETTING, "roi_pool").to(deterministic)
    batch = make_batch(network, SETTING).to(deterministic)
    with pytest.raises(RuntimeError, match="deterministic"):
        joint_loss(network, batch, fresh=False).backward()


def test_gradients_agree_with_the_cpus_in_float32() -> None:
    full_float32()
    differences = agreement(SETTING, torch.device("cuda"))
    assert is_agreed(differences), differences


def test_every_stage_runs_and_a_second_run_writes_the_same_bytes(tmp_path: Path) -> None:
    params = apply_overlay(copy.deepcopy(TINY), {"base": {"deterministic": True}, "roi_head": {"pool": "roi_align"}})
    projects = [new_project(tmp_path / name, params) for name in ("one", "two")]
    for project in projects:
        project.repro()
    outs = [
        {name: [out["md5"] for out in stage["outs"]] for name, stage in project.lock().items()} for project in projects
    ]
    assert outs[0] == outs[1]


def test_roi_pool_with_the_mode_ends_in_one_line(tmp_path: Path) -> None:
    project = new_project(tmp_path, apply_overlay(copy.deepcopy(TINY), {"base": {"deterministic": True}}))
    result = project.run("dvc", "repro", "train_head_step2")
    told = [line for line in result.stderr.splitlines() if "error: " in line and "roi_head.pool" in line]
    assert result.returncode != 0 and len(told) == 1, result.stderr[-2000:]

"""Every stage that goes image by image and computes on a GPU asks for GPUs: for the key of its run, and for its
processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml

from pipeline.runtime.own_code import own_code
from tests.conftest import ROOT, apply_overlay
from tests.defaults import default_content

STAGES = {
    "features": ("base,backbone,features", ["resize", "frozen_features", "trunk"]),
    "frozen_features": ("base,backbone,features", ["resize", "trunk"]),
    "proposals": ("base,backbone,proposals", ["resize", "rpn", "trunk"]),
    "detect": ("base,backbone", ["resize", "trunk", "rpn", "head"]),
    "detect_dense": ("base,backbone", ["resize", "trunk", "head"]),
}
"""Sections and inputs of these stages, by their modules: no more than they read before they start their processes."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str | None], tuple[str, list[str]]]:
    """The key of a run and the GPUs of its processes, by the stage's module and the model of two GPUs, None without."""
    root = tmp_path_factory.mktemp("asked")
    kept = {"features": {"keep": "maps", "keep_frozen_stages": True}, "backbone": {"frozen_stages": 2}}
    (root / "params.yaml").write_text(yaml.safe_dump(apply_overlay(default_content(), kept)))
    (root / "input").mkdir()
    runs: list[tuple[str | None, list[str]]] = []
    for module, (sections, inputs) in STAGES.items():
        words = [module, "--out", f"data/{module}", "--params", sections]
        words += [word for name in inputs for word in (f"--{name.replace('_', '-')}", "input")]
        words += ["--family", "retinanet"] if module == "detect_dense" else []
        runs += [(model, words) for model in (None, "A100", "H100")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.asking_for_gpus", json.dumps(runs)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = map(json.loads, done.stdout.splitlines())
    return {(words[0], model): tuple(answer) for (model, words), answer in zip(runs, answers, strict=True)}


def test_these_are_the_stages() -> None:
    tree, found = own_code(root=ROOT), set[str]()
    with tree.at_one_time():
        for path in (ROOT / "stages").glob("*.py"):
            lock = tree.lock(f"stages.{path.stem}")
            if "over_processes" in path.read_text() and "pipeline/runtime/launcher.py" in lock.modules:
                found.add(path.stem)
    assert found == STAGES.keys()


@pytest.mark.parametrize("module", STAGES)
def test_its_key_names_the_gpu_and_its_processes_get_one_each(
    asked: dict[tuple[str, str | None], tuple[str, list[str]]], module: str
) -> None:
    keys = {model: asked[module, model][0] for model in (None, "A100", "H100")}
    assert len(set(keys.values())) == 3
    assert asked[module, None][1] == []
    assert asked[module, "H100"][1] == ["0", "1"]

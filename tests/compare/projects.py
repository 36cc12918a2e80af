"""Projects whose networks are judged, without running a stage."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from pipeline.runtime.run_times import run_place
from tests.defaults import copy_graphs
from tests.families.joint_project import write_project

RULE = {"split": "test", "score_threshold": 0.05, "per_image": 100, "confusion_score": 0.5}
FIGURES = {"mAP50": 0.5, "AP": 0.25, "AP75": 0.125, "APs": -1.0, "APm": 0.2, "APl": 0.3, "AR100": 0.4, "images": 7}
OF_JOINT = {"train_end_to_end": 120.0, "frozen_features": 30.0, "anchor_targets": 6.0, "detect_end_to_end": 50.0}


def judged(network: str, data: str = "d" * 32, **rule: Any) -> dict[str, Any]:
    """The lock entry of an evaluate stage."""
    deps = [{"path": "data/dataset", "md5": data}, {"path": f"data/detect_{network}", "md5": "e" * 32}]
    outs = [{"path": f"data/evaluate_{network}/metrics.json", "md5": ""}]
    return {"cmd": "x", "deps": deps, "params": {"params.yaml": {"evaluate": {**RULE, **rule}}}, "outs": outs}


def write_metrics(root: Path, network: str, **changes: Any) -> str:
    """The figures of a network; their digest."""
    text = json.dumps({**FIGURES, "class_AP50": {"cat": 0.5, "dog": 0.25}, **changes})
    folder = root / f"data/evaluate_{network}"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(text)
    return hashlib.md5(text.encode()).hexdigest()


def lock(root: Path, **entries: dict[str, Any]) -> None:
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": entries}))


def judged_project(place: Path) -> Path:
    """Two families were judged in it: the joint one, which params.yaml names, and before it the four steps."""
    root = write_project(place, {})
    copy_graphs(root)
    for network, mean in (("end_to_end", 0.5), ("joint", 0.75), ("step4", 0.25)):
        write_metrics(root, network, mAP50=mean)
    (root / "data/train_end_to_end").mkdir()
    weights = {
        "trunk.a": torch.zeros(2, 3),
        "rpn.b": torch.zeros(5),
        "head.c": torch.zeros(4),
        "other.d": torch.zeros(9),
    }
    save_file(weights, root / "data/train_end_to_end/model.safetensors")
    for stage, seconds in OF_JOINT.items():
        place = run_place(root, stage)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps({"started": 0.0, "seconds": seconds, "peak_mb": 10 * seconds, "version": "1"}))
    lock(root, **{f"evaluate_{name}": judged(name) for name in ("end_to_end", "joint", "step4")})
    return root


def commit_experiment(root: Path, name: str) -> None:
    """Commit dvc.lock and params.yaml as an experiment of DVC's; the cache is in the project."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), "-c", "user.name=n", "-c", "user.email=e", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    for folder in (".dvc", ".dvc/cache"):
        (root / folder).mkdir(exist_ok=True)
    (root / ".dvc/config").write_text("")
    git("add", "--force", "dvc.lock", "params.yaml"), git("commit", "--quiet", "-m", "x")
    git("update-ref", "refs/exps/ab/" + "c" * 38 + f"/{name}", git("rev-parse", "HEAD"))


def stored(root: Path, digest: str) -> Path:
    """Where DVC's cache has a file; its folder exists."""
    place = root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    return place

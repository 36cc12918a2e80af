"""A copy of this project with little to do, for measurements. Needs neither DVC nor Prefect."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import yaml

from pipeline.families.registry import DEFAULT, family_of
from pipeline.presets.defaults import default_text
from pipeline.presets.links import LINKED

_ROOT = Path(__file__).resolve().parents[1]
_TREE = (
    "dvc.yaml",
    "graphs",
    "params.yaml",
    ".gitignore",
    "stages",
    "pipeline",
    ".dvc/config",
    ".dvcignore",
    "data/.gitignore",
)
_SMALL = {
    "dataset": {"shapes": {"train": 12, "test": 6, "image_size": 192, "max_objects": 4}},
    "backbone": {"pretrain": {"images": 12, "crops_per_iteration": 16, "iterations": 4}},
    "resize": {"shorter_side": 192, "longer_side": 320},
    **{
        stage: {"iterations": 10, "images_per_iteration": 2, "lr_drop_at": [9], "warmup_iterations": 1}
        for stage in ("train_rpn_step1", "train_head_step2", "train_rpn_step3", "train_head_step4", "finetune_joint")
    },
}


def small_project(root: Path, threads: int) -> None:
    """A copy of this project with little to do."""
    for name in _TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (_ROOT / name).is_dir():
            shutil.copytree(_ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(_ROOT / name, root / name)
    for place in LINKED.values():
        (root / place).mkdir(parents=True, exist_ok=True)
    params = yaml.safe_load(default_text(family_of(DEFAULT)))
    _apply_overlay(params, {**_SMALL, "base": {"threads": threads}})
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)


def _apply_overlay(params: dict, overlay: dict) -> None:
    for key, value in overlay.items():
        if isinstance(value, dict):
            _apply_overlay(params[key], value)
        else:
            params[key] = value

"""The verdict of `check-data` on a data root, and whether dataset, resize and anchor_targets refuse it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.params.file import load_params
from pipeline.preflight.collecting import check_dataset
from pipeline.runtime.errors import InputError
from tests.conftest import apply_overlay
from tests.defaults import default_content
from tests.in_process import run_stage

# Small images, so that a case takes milliseconds; no training will follow.
SMALL = {"resize": {"shorter_side": 64, "longer_side": 128}}


def write_params(folder: Path, overlay: Mapping[str, Any]) -> Path:
    """params.yaml with the defaults and `overlay` over them."""
    folder.mkdir(exist_ok=True)
    content = default_content()
    (folder / "params.yaml").write_text(yaml.safe_dump(apply_overlay(apply_overlay(content, SMALL), dict(overlay))))
    return folder / "params.yaml"


def refused(root: Path, folder: Path) -> str:
    """What the three stages say of a data root by `folder`/params.yaml, empty where they run through."""
    for name in ("dataset", "resize", "anchor_targets"):
        shutil.rmtree(folder / "data" / name, ignore_errors=True)
    try:
        for name in ("dataset", "resize"):
            run_stage(name, folder, raw=root)
        run_stage("anchor_targets", folder)
    except InputError as error:
        return str(error)
    return ""


def passes(root: Path, folder: Path) -> tuple[bool, str]:
    """Whether check-data passes the data root by `folder`/params.yaml, and what it has against it."""
    params = load_params(folder / "params.yaml")
    try:
        checked = check_dataset(root, params.dataset, params.resize)
    except InputError as error:
        return False, str(error)
    return not checked.stops, "\n".join([*checked.faults, *checked.lacking, *checked.stopping])


def assert_truth(root: Path, folder: Path) -> bool:
    """check-data passes the data exactly where the three stages run; whether it does."""
    passed, said = passes(root, folder)
    refusal = refused(root, folder)
    assert passed == (not refusal), f"check-data {'passes' if passed else 'refuses'}:\n{said}\nthe stages: {refusal}"
    return passed

"""One stage of the finished tiny run, run again by hand as dvc.yaml wires it, with other parameters or inputs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.tables import Columns
from pipeline.artifacts.weights import State, load_part
from tests.conftest import Project
from tests.in_process import run_stage

# So small that no weight can move by more than this times its gradient.
VANISHING = 1e-30


class RunByHand(Protocol):
    """Runs a stage of dvc.yaml in this process.

    Args:
        name: the stage. params: applied to those of the tiny run.
        inputs: folders in place of those that dvc.yaml names, by option.

    Returns:
        The folder that the stage wrote.
    """

    def __call__(self, name: str, params: dict[str, Any] | None = None, **inputs: Path) -> Path: ...


@pytest.fixture
def by_hand(tiny_run: Project, tmp_path: Path) -> RunByHand:
    runs = 0

    def run(name: str, params: dict[str, Any] | None = None, **inputs: Path) -> Path:
        nonlocal runs
        runs += 1
        return run_stage(name, tiny_run.root, tmp_path / f"run{runs}" / name, params, **inputs)

    return run


def barely_trained(stage: str, **changes: Any) -> dict[str, Any]:
    """Parameters by which a training stage writes the weights it started from."""
    return {stage: {"iterations": 1, "lr": VANISHING, "lr_drop_at": [], "warmup_iterations": 0, **changes}}


def weights_of(folder: Path, part: str) -> State:
    """The weights of a part that training moves: all but what batch norm counts in passing."""
    return {name: value for name, value in load_part(folder, part).items() if name.endswith(("weight", "bias"))}


def same_start(first: State, second: State) -> bool:
    """Whether two states are one but for a step of a vanishing rate."""
    assert first.keys() == second.keys()
    return all(bool(((value - second[name]).abs() < VANISHING**0.5).all()) for name, value in first.items())


def with_rows(folder: Path, target: Path, file: str, change: Callable[[Columns], np.ndarray | None]) -> Path:
    """A copy of an artifact, its table `file` changed column by column; a returned mask tells which rows stay."""
    shutil.copytree(folder, target)
    table = pq.read_table(target / file)
    columns = {name: table.column(name).to_numpy(zero_copy_only=False).copy() for name in table.column_names}
    keep = change(columns)
    changed = pa.table(columns, schema=table.schema)
    pq.write_table(changed if keep is None else changed.filter(pa.array(keep)), target / file)
    write_manifest(target, folder.name)
    return target


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

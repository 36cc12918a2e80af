"""One stage of the finished tiny run, run again by hand as dvc.yaml wires it, with other parameters or inputs."""

from __future__ import annotations

import importlib
import shutil
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.artifacts.manifest import write_manifest
from pipeline.artifacts.tables import Columns
from pipeline.artifacts.weights import State, load_part
from pipeline.params.file import load_params
from pipeline.stage import Stage
from tests.conftest import Project, apply_overlay

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


def command_of(project: Project, name: str) -> tuple[str, dict[str, str]]:
    """The module and the options of a stage's command in dvc.yaml."""
    words = _stages_of((project.root / "dvc.yaml").read_text())[name]["cmd"].split()
    assert words[:2] == ["python", "-m"]
    return words[2], {
        option.removeprefix("--").replace("-", "_"): value
        for option, value in zip(words[3::2], words[4::2], strict=True)
    }


@cache
def _stages_of(text: str) -> dict[str, Any]:
    return yaml.safe_load(text)["stages"]


@pytest.fixture
def by_hand(tiny_run: Project, tmp_path: Path) -> RunByHand:
    runs = 0

    def run(name: str, params: dict[str, Any] | None = None, **inputs: Path) -> Path:
        nonlocal runs
        runs += 1
        folder = tmp_path / f"run{runs}"
        out = folder / name
        out.mkdir(parents=True)
        content = yaml.safe_load((tiny_run.root / "params.yaml").read_text())
        apply_overlay(apply_overlay(content, {"base": {"threads": 1}}), params or {})
        (folder / "params.yaml").write_text(yaml.safe_dump(content))
        module, options = command_of(tiny_run, name)
        sections = options.pop("params").split(",")
        assert options.pop("out") == f"data/{name}"
        assert inputs.keys() <= options.keys()
        paths: defaultdict[str, Path | None] = defaultdict(lambda: None)
        paths.update({option: inputs.get(option, tiny_run.root / path) for option, path in options.items()})
        work: Callable[[Stage], None] = getattr(importlib.import_module(module), module.rpartition(".")[2])
        work(Stage(name, load_params(folder / "params.yaml", sections), out, paths))
        write_manifest(out, name)
        return out

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

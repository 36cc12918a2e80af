"""Whole runs killed with -9 at random moments, started again until they are done: the same lock every time.

`FRCNN_DRILL_RUNS` and `FRCNN_DRILL_KILLS` say how many runs the long drill has and how often each is killed.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.training.checkpoints import EVERY_ITERATIONS
from tests.conftest import TINY, Project, new_project

RUNS, KILLS = int(os.environ.get("FRCNN_DRILL_RUNS", "10")), int(os.environ.get("FRCNN_DRILL_KILLS", "20"))
LONGEST = 4.0  # seconds into a stage; one of the tiny graph takes one to eight


def begun(log: Path) -> list[str]:
    """The stages that have begun, as DVC tells it."""
    return [line.split("'")[1] for line in log.read_text().splitlines() if line.startswith("Running stage")]


def wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The status; None if it still runs after so long."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def killed_run(project: Project, kills: int, seed: int) -> list[str]:
    """Run the graph, killed `kills` times at most; the stage each kill fell into, as far as the log tells."""
    draw = random.Random(seed)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project.root),
        "DVC_NO_ANALYTICS": "1",
        EVERY_ITERATIONS: "2",
    }
    fell_into = []
    while True:
        log = project.root.parent / "log"
        with open(log, "w") as file:
            process = subprocess.Popen(
                ["dvc", "repro"],
                cwd=project.root,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            status = None
            if len(fell_into) < kills:
                # So many stages may begin before it; with 0 it can be killed before anything is done, twice in a row.
                let_begin = draw.choice([0, 1, 1, 2, 3])
                while status is None and len(begun(log)) < let_begin:
                    status = wait(process, 0.02)
                status = status if status is not None else wait(process, draw.uniform(0, LONGEST))
                if status is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    fell_into.append((begun(log) or ["before any"])[-1])
                    continue
            status = process.wait()
        assert status == 0, log.read_text()[-3000:]
        return fell_into


def drill(tmp_path: Path, tiny_run: Project, kills: int, seed: int) -> list[str]:
    project = new_project(tmp_path / f"drill{seed}" / "project", TINY)
    fell_into = killed_run(project, kills, seed)
    assert project.lock() == tiny_run.lock()
    for stage in project.lock():
        own = {path.name: path.read_bytes() for path in (project.data / stage).rglob("*") if path.is_file()}
        assert own == {p.name: p.read_bytes() for p in (tiny_run.data / stage).rglob("*") if p.is_file()}
    leftovers = [
        path.name for path in project.data.iterdir() if path.name.startswith(".") and path.name != ".gitignore"
    ]
    assert leftovers == []
    assert not list((project.root / ".dvc/tmp/frcnn/scratch").glob("*"))
    shutil.rmtree(project.root)
    return fell_into


@pytest.mark.long
@pytest.mark.parametrize("seed", range(RUNS))
def test_a_run_killed_at_random_moments_ends_like_an_undisturbed_one(
    tmp_path: Path, tiny_run: Project, seed: int
) -> None:
    fell_into = drill(tmp_path, tiny_run, KILLS, seed)
    print(f"seed {seed}: {len(fell_into)} kills in {sorted(set(fell_into))}")
    assert len(fell_into) > KILLS / 2

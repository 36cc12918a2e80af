"""Whole runs killed with -9 at random moments, started again until they are done: the same bytes every time.

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

import psutil
import pytest

from pipeline.runtime.variables import EVERY_ITERATIONS
from tests.conftest import TINY, Project, new_project, stages_from, that_forgot
from tests.faults.flow_workspace import Workspace
from tests.faults.processes import SECONDS, until
from tests.fidelity.conftest import files_of

RUNS, KILLS = int(os.environ.get("FRCNN_DRILL_RUNS", "11")), int(os.environ.get("FRCNN_DRILL_KILLS", "20"))
LONGEST = 2.5  # seconds into a stage; one of the tiny graph takes one to four
FLOW_RUNS, FLOW_KILLS = int(os.environ.get("FRCNN_DRILL_FLOW_RUNS", "10")), 3


def begun(log: Path) -> list[str]:
    """The stages that have begun, as DVC tells it."""
    begun = [line.split("'")[1] for line in log.read_text().splitlines() if line.startswith("Running stage")]
    return [name for name in begun if name != "code"]  # which begins every repro


def wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The status; None if it still runs after so long."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def killed_run(project: Project, kills: int, seed: int, first_after: int = 14, *stages: str) -> list[str]:
    """Run the graph, or these stages and what they need, killed `kills` times at most.

    The first kill comes after some stages, fewer than `first_after`, other ones with each seed, so that all stages have
    their share.

    Returns:
        The stage each kill fell into, as far as the log tells.
    """
    draw = random.Random(seed)
    let_begin = draw.randrange(first_after)
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
                [sys.executable, "-m", "pipeline.cli", "repro", *stages],
                cwd=project.root,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            status = None
            if len(fell_into) < kills:
                while status is None and len(begun(log)) < let_begin:
                    status = wait(process, 0.02)
                status = status if status is not None else wait(process, draw.uniform(0, LONGEST))
                if status is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    fell_into.append((begun(log) or ["before any"])[-1])
                    # With 0 it can be killed before anything is done, twice in a row.
                    let_begin = draw.choice([0, 1, 1, 1, 2])
                    continue
            status = process.wait()
        assert status == 0, log.read_text()[-3000:]
        return fell_into


def assert_as_undisturbed(project: Project, undisturbed: Project) -> None:
    """The same lock and bytes, and nothing left lying about."""
    assert project.lock() == undisturbed.lock()
    for stage in project.lock():
        assert files_of(project.data / stage) == files_of(undisturbed.data / stage), stage
    assert_nothing_left(project)


def assert_nothing_left(project: Project) -> None:
    """No hidden folder of a stage, no state of a training."""
    hidden = [path.name for path in project.data.iterdir() if path.name.startswith(".") and path.name != ".gitignore"]
    assert hidden == []
    assert not list((project.root / ".dvc/tmp/frcnn/scratch").glob("*"))


def drill(project: Project, tiny_run: Project, kills: int, seed: int, first_after: int = 14) -> list[str]:
    fell_into = killed_run(project, kills, seed, first_after)
    assert_as_undisturbed(project, tiny_run)
    shutil.rmtree(project.root)
    print(f"seed {seed}: {len(fell_into)} kills: {' '.join(fell_into)}")
    return fell_into


@pytest.mark.long
def test_a_stage_killed_again_and_again_ends_like_an_undisturbed_one(tmp_path: Path, tiny_run: Project) -> None:
    """One stage alone; the whole graph below."""
    last = "finetune_joint"
    project = that_forgot(tiny_run, stages_from(tiny_run, last), tmp_path / "drill" / "project")
    assert set(killed_run(project, 2, 13, 2, last)) == {last}  # once where the stage was fast
    assert last in project.lock()
    for stage, lines in project.lock().items():
        assert lines == tiny_run.lock()[stage]
        assert files_of(project.data / stage) == files_of(tiny_run.data / stage), stage
    assert_nothing_left(project)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(RUNS))
def test_the_same_with_many_more_kills(tmp_path: Path, tiny_run: Project, seed: int) -> None:
    project = new_project(tmp_path / "drill" / "project", TINY)
    assert len(drill(project, tiny_run, KILLS, seed)) > KILLS / 2


@pytest.mark.long
@pytest.mark.parametrize("victim", ["flow", "worker"])
@pytest.mark.parametrize("seed", range(FLOW_RUNS // 2))
def test_runs_whose_flow_or_worker_is_killed(tmp_path: Path, tiny_run: Project, victim: str, seed: int) -> None:
    draw = random.Random(f"{victim} {seed}")
    workspace = Workspace(new_project(tmp_path / "project", TINY))
    workspace.environment[EVERY_ITERATIONS] = "2"
    try:
        for _ in range(FLOW_KILLS):
            ours = workspace.start(victim)
            if victim == "worker":
                target = workspace.process("prefect", "worker", "start")
                workspace.request()
            else:
                target = psutil.Process(ours.pid)
            until(lambda: any(workspace.project.data.glob(".*.partial")), "no stage starts")
            psutil.wait_procs([target], timeout=draw.uniform(0, 12))
            target.kill()
            ours.communicate(timeout=SECONDS)
            workspace.until_nobody_is_left()
        workspace.run()
        workspace.until_nobody_is_left()
    finally:
        for process in workspace.processes():
            process.kill()
    assert_as_undisturbed(workspace.project, tiny_run)

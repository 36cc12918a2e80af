"""Whatever is killed while a stage trains: nothing stays alive, the next run goes on, and the lock is as undisturbed.

`kill -9` each time, of one process of the chain worker, flow, guard, dvc, stage, and of the server beside it.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Project
from tests.faults.flow_workspace import Workspace
from tests.faults.processes import SECONDS, until
from tests.fidelity.conftest import files_of
from tests.in_process import run_stage
from tests.stage_forks import StageForks

STAGE = "train_rpn_step1"
ITERATIONS = 200


@pytest.fixture(scope="module")
def before_training(tiny_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny graph with everything before the first training stage done, and that stage changed."""
    project = Project(tmp_path_factory.mktemp("before") / "project")
    shutil.copytree(tiny_run.root, project.root, symlinks=True)
    project.set_params({STAGE: {"iterations": ITERATIONS, "lr_drop_at": [ITERATIONS - 1]}})
    return project


@pytest.fixture(scope="module")
def undisturbed(before_training: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the stage leaves when nobody disturbs it."""
    return files_of(run_stage(STAGE, before_training.root, tmp_path_factory.mktemp("undisturbed") / STAGE))


@pytest.fixture
def workspace(before_training: Project, prefect_home: Path, tmp_path: Path) -> Iterator[Workspace]:
    project = Project(tmp_path / "project")
    shutil.copytree(before_training.root, project.root, symlinks=True)
    shutil.copytree(prefect_home, project.root / ".prefect")
    workspace = Workspace(project)
    yield workspace
    for process in workspace.processes():
        process.kill()


def until_training(workspace: Workspace) -> psutil.Process:
    """Wait until the stage is at work; its process."""
    until((workspace.project.data / f".{STAGE}.partial").exists, "the stage does not start")
    return workspace.process("stages.train_rpn")


@pytest.mark.long
@pytest.mark.parametrize("victim", ["stage", "dvc", "guard"])
def test_what_dies_for_a_passing_reason_is_tried_again(
    workspace: Workspace, undisturbed: dict[str, bytes], victim: str
) -> None:
    flow = workspace.start("flow", STAGE)
    stage = until_training(workspace)
    dvc = workspace.process("dvc", "repro")
    {"stage": stage, "dvc": dvc, "guard": workspace.guard_of(dvc)}[victim].kill()
    psutil.wait_procs([stage, dvc], timeout=SECONDS)
    output, _ = flow.communicate(timeout=SECONDS)
    assert flow.returncode == 0, output
    assert "Retry 1/1" in output
    assert "Traceback" not in output
    assert files_of(workspace.project.data / STAGE) == undisturbed
    workspace.until_nobody_is_left()


@pytest.mark.long
def test_stages_run_in_forks(workspace: Workspace, tmp_path: Path) -> None:
    forks = StageForks(tmp_path)
    path = f"{forks.site}:{workspace.environment['PYTHONPATH']}"
    workspace.environment |= {**forks.variables, "PYTHONPATH": path}
    workspace.run()
    assert forks.count() >= 10
    workspace.until_nobody_is_left()


@pytest.mark.long
def test_kill_of_the_flow_ends_all_and_the_next_goes_on(workspace: Workspace, undisturbed: dict[str, bytes]) -> None:
    flow = workspace.start("flow", STAGE)
    until_training(workspace)
    flow.kill()
    flow.communicate()
    workspace.until_nobody_is_left()
    assert "marked as crashed" in workspace.run(STAGE)
    assert workspace.states() == ["COMPLETED", "CRASHED"]
    assert files_of(workspace.project.data / STAGE) == undisturbed
    workspace.until_nobody_is_left()


@pytest.mark.long
def test_kill_of_the_server_does_not_stop_the_flow(workspace: Workspace, undisturbed: dict[str, bytes]) -> None:
    flow = workspace.start("flow", STAGE)
    until_training(workspace)
    workspace.process("prefect", "server").kill()
    output, _ = flow.communicate(timeout=SECONDS)
    assert flow.returncode == 0, output
    assert files_of(workspace.project.data / STAGE) == undisturbed
    workspace.until_nobody_is_left()


@pytest.mark.long
def test_kill_of_the_worker_ends_its_flow_and_the_next_goes_on(
    workspace: Workspace, undisturbed: dict[str, bytes]
) -> None:
    ours = workspace.start("worker")
    worker = workspace.process("prefect", "worker", "start")
    workspace.request(STAGE)
    until_training(workspace)
    worker.kill()
    output, _ = ours.communicate(timeout=SECONDS)
    assert ours.returncode == 1
    assert output.splitlines()[-1].startswith("frcnn: error: prefect worker start"), output
    workspace.until_nobody_is_left()
    workspace.run(STAGE)
    assert workspace.states() == ["COMPLETED", "CRASHED"]
    assert files_of(workspace.project.data / STAGE) == undisturbed


@pytest.mark.long
def test_the_second_flow_refuses_and_ctrl_c_ends_the_first(workspace: Workspace, undisturbed: dict[str, bytes]) -> None:
    first = workspace.start("flow", STAGE)
    stage = until_training(workspace)
    stage.suspend()
    second = workspace.start("flow", STAGE)
    output, _ = second.communicate(timeout=SECONDS)
    assert second.returncode == 1
    assert output == (
        f"frcnn: error: another run (process {first.pid}) is at work in this workspace; wait for it, or stop it\n"
    )
    first.send_signal(signal.SIGINT)
    stage.resume()
    output, _ = first.communicate(timeout=SECONDS)
    assert first.returncode == 130, output
    assert "Traceback" not in output
    workspace.until_nobody_is_left()
    assert "marked as crashed" not in workspace.run(STAGE)
    assert files_of(workspace.project.data / STAGE) == undisturbed


@pytest.mark.long
def test_cancelled_in_the_pages(workspace: Workspace) -> None:
    flow = workspace.start("flow", STAGE)
    until_training(workspace)
    code = (
        "from prefect import get_client\n"
        "from prefect.states import Cancelling\n"
        "with get_client(sync_client=True) as client:\n"
        "    [run] = client.read_flow_runs()\n"
        "    client.set_flow_run_state(run.id, Cancelling(), force=True)\n"
    )
    environment = {**workspace.environment, "PREFECT_API_URL": workspace.server() + "/api", "DO_NOT_TRACK": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=workspace.project.root.parent)
    output, _ = flow.communicate(timeout=SECONDS)
    assert flow.returncode == 130, output
    workspace.until_nobody_is_left()

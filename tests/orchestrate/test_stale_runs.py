"""Runs of a killed flow do not stay under way in the database."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pipeline.orchestrate.server import prefect_server, prepare_environment

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")  # of prefect


@pytest.fixture(scope="module")
def client(prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("stale")
    shutil.copytree(prefect_home, root / ".prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            patch.delenv(name)
        prepare_environment(root)
        with prefect_server(root) as server:
            from prefect import get_client
            from prefect.settings import PREFECT_API_URL, temporary_settings

            server.wait()
            # Prefect may have been imported before, with the settings of that time.
            with temporary_settings({PREFECT_API_URL: f"{server.url}/api"}), get_client(sync_client=True) as client:
                yield client


def state(name: str) -> Any:
    from prefect.client.schemas.objects import StateType
    from prefect.states import State

    return State(type=StateType[name])


def new_run(client: Any, tags: list[str], flow_state: str, *task_states: str) -> tuple[UUID, list[UUID]]:
    from prefect import flow, task

    @flow(name="toy")
    def a_flow() -> None: ...

    @task(name="toy")
    def a_task() -> None: ...

    run = client.create_flow_run(a_flow, state=state("RUNNING"), tags=tags).id
    tasks = [
        client.create_task_run(a_task, run, str(key), state=state("PENDING")).id for key in range(len(task_states))
    ]
    for task_run, name in zip(tasks, task_states, strict=True):
        client.set_task_run_state(task_run, state(name), force=True)
    client.set_flow_run_state(run, state(flow_state), force=True)
    return run, tasks


def states(client: Any, run: UUID, tasks: list[UUID]) -> list[str]:
    return [
        client.read_flow_run(run).state.type.name,
        *(client.read_task_run(task_run).state.type.name for task_run in tasks),
    ]


def test_runs_under_way_are_called_crashed_with_their_tasks_and_all_others_stay(client: Any) -> None:
    from pipeline.orchestrate.stale_runs import sweep_stale_runs, tag_run

    tag = f"workspace-{uuid4()}"
    under_way = ("RUNNING", "PENDING", "CANCELLING")
    stale = [new_run(client, [tag], name) for name in under_way]
    with_tasks = new_run(client, [tag, "more"], "RUNNING", "COMPLETED", "RUNNING", "PENDING", "SCHEDULED", "FAILED")
    others = [
        new_run(client, [tag], "COMPLETED", "COMPLETED"),
        new_run(client, [tag], "FAILED", "FAILED"),
        new_run(client, [tag], "SCHEDULED"),
        new_run(client, [f"workspace-{uuid4()}"], "RUNNING", "RUNNING"),
        new_run(client, [], "RUNNING", "RUNNING"),
    ]
    before = [states(client, *run) for run in others]
    own = new_run(client, ["mine"], "RUNNING", "RUNNING")
    tag_run(client, own[0], tag)

    assert sweep_stale_runs(client, own[0], tag) == len(stale) + 1
    assert [states(client, *run) for run in stale] == [["CRASHED"]] * len(stale)
    assert states(client, *with_tasks) == ["CRASHED", "COMPLETED", "CRASHED", "CRASHED", "CRASHED", "FAILED"]
    assert [states(client, *run) for run in others] == before
    assert states(client, *own) == ["RUNNING", "RUNNING"]
    assert set(client.read_flow_run(own[0]).tags) == {"mine", tag}
    assert sweep_stale_runs(client, own[0], tag) == 0


def test_a_workspace_is_one_folder_however_it_is_named(tmp_path: Path) -> None:
    from pipeline.orchestrate.stale_runs import workspace_tag

    (tmp_path / "link").symlink_to(tmp_path)
    assert workspace_tag(tmp_path / "link") == workspace_tag(tmp_path)
    assert workspace_tag(tmp_path / "other") != workspace_tag(tmp_path)

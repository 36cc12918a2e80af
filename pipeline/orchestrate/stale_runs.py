"""Flow runs that the database still lists as running although their process is gone, as after a kill."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterState,
)
from prefect.client.schemas.filters import FlowRunFilterStateType as FlowStateType
from prefect.client.schemas.filters import TaskRunFilterStateType as TaskStateType
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed, State

_UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
# A task that waits to be tried again is scheduled.
_TASK_UNDER_WAY = [*_UNDER_WAY, StateType.SCHEDULED, StateType.PAUSED]


def workspace_tag(root: Path) -> str:
    """The tag of a workspace among the runs of a server: one folder on one machine."""
    place = f"{socket.gethostname()}:{Path(root).resolve()}"
    return f"workspace-{hashlib.sha256(place.encode()).hexdigest()[:12]}"


def tag_run(client: SyncPrefectClient, own: UUID, tag: str) -> None:
    """Mark the flow run `own` as this workspace's."""
    tags = {*client.read_flow_run(own).tags, tag}
    client.update_flow_run(own, tags=sorted(tags))


def sweep_stale_runs(client: SyncPrefectClient, own: UUID, tag: str) -> int:
    """Mark all other runs of the workspace that seem to be running as crashed, with their tasks; returns their number.

    Only for the holder of the workspace: no other run of it can be alive.
    """
    stale = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            id=FlowRunFilterId(not_any_=[own]),
            tags=FlowRunFilterTags(all_=[tag]),
            state=FlowRunFilterState(type=FlowStateType(any_=_UNDER_WAY)),
        )
    )
    for run in stale:
        tasks = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])),
            task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=TaskStateType(any_=_TASK_UNDER_WAY))),
        )
        gone: State[None] = Crashed(message="its process was gone when the next flow of the workspace began")
        for task in tasks:
            client.set_task_run_state(task.id, gone, force=True)
        client.set_flow_run_state(run.id, gone, force=True)
    return len(stale)

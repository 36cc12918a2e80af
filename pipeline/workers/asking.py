"""Asking the workers for a run of a stage, and following it to its end.

Two requests for the same run at the same time share one: its key names it on the server. A run whose worker is lost is
marked as crashed and requested again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterTags,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import FailedRun
from prefect.states import Cancelling, Crashed

from pipeline.orchestrate.slots import StageStopped
from pipeline.workers.client import soon_again_client
from pipeline.workers.pools import workers_online
from pipeline.workers.stage_request import MAY_RETRY, StageRequest

_LEAST_SECONDS_BETWEEN_LOOKS = 0.25
_MOST_SECONDS_BETWEEN_LOOKS = 1.0
_LOOKS_WHILE_IT_LASTS = 40
_SECONDS_TO_BEGIN = 120.0
_MOST_LOST = 5
_OF_A_STATE = f"{FailedRun.__module__}.{FailedRun.__name__}"
_PREFECTS_OWN = (
    "Worker '",
    "Flow run '",
    "Downloading flow code",
    "Beginning flow run",
    "View at",
    "Finished in state",
    "Reported flow run",
    "Process for flow run",
)


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended: `error` is empty where it succeeded."""

    error: str = ""
    may_retry: bool = False


class Workers:
    """What a coordinator asks of the server.

    Args:
        deployments: ids by pool, see `pools.register`. stopping: set when the coordinator is to end.
    """

    def __init__(self, deployments: dict[str, UUID], stopping: threading.Event) -> None:
        self._deployments, self._stopping = deployments, stopping

    def run(self, request: StageRequest, pool: str, log: Callable[[str], None]) -> RunOutcome:
        """Request a run and wait for its end; it is requested again if its worker is lost.

        Raises:
            StageStopped: the coordinator is to end; the run is cancelled.
        """
        with soon_again_client() as client:
            for _ in range(_MOST_LOST):
                run = self._ask(client, request, pool)
                ended = self._follow(client, run.id, pool, log)
                state = ended.state
                assert state is not None
                if state.type == StateType.COMPLETED:
                    return RunOutcome()
                if state.type == StateType.FAILED:
                    return RunOutcome(state.message or f"{request.stage}: failed", state.name == MAY_RETRY)
                log(f"{state.name}: {state.message or 'the worker is gone'}; another is asked")
            return RunOutcome(f"{request.stage}: lost with its worker {_MOST_LOST} times")

    def _ask(self, client: SyncPrefectClient, request: StageRequest, pool: str) -> FlowRun:
        tag = f"key:{request.key[:32]}"
        earlier = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[tag])))
        ended = sum(run.state is not None and run.state.is_final() for run in earlier)
        return client.create_flow_run_from_deployment(
            self._deployments[pool],
            parameters={"request": request.model_dump()},
            name=request.stage,
            tags=[tag],
            # Whoever else asks now counts as many that have ended, and gets this one.
            idempotency_key=f"{request.key}-{ended}",
        )

    def _follow(self, client: SyncPrefectClient, run_id: UUID, pool: str, log: Callable[[str], None]) -> FlowRun:
        seen, pending_since, warned = 0, time.monotonic(), False
        before, changed = None, pending_since
        while True:
            run = client.read_flow_run(run_id)
            lines = client.read_logs(
                LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])),
                limit=200,
                offset=seen,
                sort=LogSort.TIMESTAMP_ASC,
            )
            for line in lines:
                if not _is_prefects_own(line.message):
                    log(line.message)
            seen += len(lines)
            state = run.state
            assert state is not None
            if state.type != before:
                before, changed = state.type, time.monotonic()
            if state.is_final() and not lines:
                return run
            if state.is_scheduled():
                pending_since = time.monotonic()
                if not warned and not workers_online(client, pool):
                    log(f"no worker of the pool {pool} is there; start one in a clone: frcnn worker --pool {pool}")
                    warned = True
            elif not state.is_final() and self._is_lost(client, run, pool, pending_since):
                gone: Crashed = Crashed(message="its worker gives no sign of life")  # type: ignore[valid-type]
                client.set_flow_run_state(run_id, gone, force=True)
            if self._stopping.wait(0 if lines else _seconds_to_next_look(time.monotonic() - changed)):
                client.set_flow_run_state(run_id, Cancelling(), force=not state.is_running())
                raise StageStopped

    def _is_lost(self, client: SyncPrefectClient, run: FlowRun, pool: str, pending_since: float) -> bool:
        worker = next((tag.partition(":")[2] for tag in run.tags if tag.startswith("worker:")), None)
        if worker is None:
            # A worker has taken it, and nothing has begun.
            return time.monotonic() - pending_since > _SECONDS_TO_BEGIN
        return worker not in workers_online(client, pool)


def _is_prefects_own(message: str) -> bool:
    """Whether a line of a run's log says nothing of its stage.

    Where a run has ended in the state Failed, Prefect logs a traceback of the exception that it makes from the state.
    """
    return message.startswith(_PREFECTS_OWN) or ("Traceback" in message and f"\n{_OF_A_STATE}: " in message)


def _seconds_to_next_look(lasting: float) -> float:
    """Seconds until the next look at a run that has been in its state for `lasting` seconds.

    They are few for a short stage, and for a long one the looks are few.
    """
    return min(max(lasting / _LOOKS_WHILE_IT_LASTS, _LEAST_SECONDS_BETWEEN_LOOKS), _MOST_SECONDS_BETWEEN_LOOKS)

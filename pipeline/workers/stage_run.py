"""The flow that a worker runs: one stage, in the worker's clone, its result left where everybody finds it.

Import it only when Prefect's settings are in the environment (`prepare_environment`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.runtime import flow_run as this_flow_run
from prefect.states import Cancelled, Completed, Failed, State

from pipeline.orchestrate.cancellation import stopped_when_cancelled
from pipeline.orchestrate.code_stage import write_locks
from pipeline.orchestrate.dvc_stage import StageRunner
from pipeline.orchestrate.graph import LockFile, nodes_of, opened
from pipeline.orchestrate.lock_entries import LockEntry, differing_inputs, key_of
from pipeline.orchestrate.run_cache import results_of_cache, shared_results
from pipeline.orchestrate.slots import StageStopped, slots_of_this_machine
from pipeline.orchestrate.workspace import hold_workspace
from pipeline.runtime.errors import InputError
from pipeline.workers.client import soon_again_client
from pipeline.workers.clone import prepare_clone
from pipeline.workers.pools import CLONE, WORKER
from pipeline.workers.stage_request import MAY_RETRY, StageRequest
from pipeline.workers.states import shared_states
from pipeline.workers.transfers import fetch_outputs, send_outputs


@flow(name="stage", persist_result=False)
def run_requested_stage(request: dict[str, Any]) -> State[Any]:
    """Run a stage as `StageRequest` says."""
    wanted = StageRequest.model_validate(request)
    root = Path(os.environ[CLONE]).resolve()
    flow_run_id = UUID(this_flow_run.get_id())
    with soon_again_client() as client:
        tags = {*client.read_flow_run(flow_run_id).tags, f"worker:{os.environ[WORKER]}"}
        client.update_flow_run(flow_run_id, tags=sorted(tags))
    try:
        return _Run(root, wanted, get_run_logger().info).run(flow_run_id)
    except InputError as error:
        return Failed(message=f"{wanted.stage}: {error}")


class _Run:
    """One run in one clone."""

    def __init__(self, root: Path, request: StageRequest, log: Callable[[str], None]) -> None:
        self._root, self._request, self._log = root, request, log

    def run(self, flow_run_id: UUID) -> State[Any]:
        """The state it ends in; the result is kept where it succeeds."""
        stage = self._request.stage
        with ExitStack() as stack:
            lock = stack.enter_context(hold_workspace(self._root))
            moved = prepare_clone(self._root, self._request.revision, self._request.setting, self._request.before)
            with opened(self._root, wait_for_lock=True) as repo:
                node = nodes_of(repo, [stage])[stage]
                states = shared_states(repo, self._request.key, stage)
                write_locks(self._root, self._request.code, in_this_process=not moved)
                fetch_outputs(repo, self._request.before)
            if found := states.fetch():
                self._log(f"{stage}: {found // 2} states of a run that was cut short are here")
            runner = StageRunner(self._root, slots_of_this_machine(), lock)
            stack.enter_context(stopped_when_cancelled(runner.stop, flow_run_id))
            try:
                with states.sent_while():
                    run = runner.run(node, self._log)
            except StageStopped:
                return Cancelled(message=f"{stage}: stopped")
            if run.status:
                name = MAY_RETRY if run.passing else "Failed"
                return Failed(name=name, message=run.error or f"{stage}: dvc ended with {run.status}")
            self._keep(LockFile(self._root).stages()[stage])
            states.forget()
        return Completed(message=f"{run.seconds:.1f} s" if run.ran else "from DVC's cache")

    def _keep(self, entry: LockEntry) -> None:
        """Leave the result under its key, unless another came first.

        Raises:
            InputError: it is the result of another run than the requested one.
        """
        if key_of(entry) != self._request.key:
            changed = ", ".join(differing_inputs(self._request.expected, entry))
            raise InputError(
                f"{self._root} differs from the coordinator's clone in {changed}; link the same data in both"
            )
        with opened(self._root, wait_for_lock=True) as repo:
            send_outputs(repo, entry)
            kept = shared_results(repo).keep(entry)
            if kept.is_second:
                results_of_cache(repo).replace(self._request.key, kept.entry)
                self._log(
                    f"{self._request.stage}: another run under the same key was kept before this one, and differs; the "
                    "first counts, this one is dropped"
                )

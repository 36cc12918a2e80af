"""The graph as a Prefect flow: one task per stage, each run through DVC.

Import it only when Prefect's settings are in the environment (`prepare_environment`).
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Task, flow, get_client, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.events.worker import EventsWorker
from prefect.futures import PrefectFuture
from prefect.logging.handlers import APILogWorker
from prefect.runtime import flow_run as this_flow_run
from prefect.runtime import task_run as this_task_run
from prefect.states import Cancelled, Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from pipeline.orchestrate.cancellation import SECONDS_TO_SEND, stopped_when_cancelled
from pipeline.orchestrate.code_stage import lock_code
from pipeline.orchestrate.dvc_stage import StageRun, StageRunner
from pipeline.orchestrate.graph import Graph, LockFile, StageNode, read_graph
from pipeline.orchestrate.outcome import outcome_of
from pipeline.orchestrate.prefect_artifacts import Gallery, ProgressArtifact, show_summary
from pipeline.orchestrate.preloading import preloaded
from pipeline.orchestrate.record import StageRecord, write_record
from pipeline.orchestrate.report_page import renew_report
from pipeline.orchestrate.slots import StageStopped, slots_of_this_machine
from pipeline.orchestrate.stale_runs import sweep_stale_runs, tag_run, workspace_tag
from pipeline.orchestrate.workspace import check_data_places, environment_in, hold_workspace
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text

_MOST_STAGES_AT_ONCE = 64
_SECONDS_BEFORE_RETRY = 2


@flow(
    name="train",
    description="The stages of dvc.yaml that are not up to date, one task each.",
    task_runner=ThreadPoolTaskRunner(max_workers=_MOST_STAGES_AT_ONCE),  # type: ignore[arg-type]
    persist_result=False,
)
def train(targets: list[str] | None = None) -> State[Any]:
    """Run the stages that `targets` need, or all stages, in the current folder."""
    root, began = Path.cwd(), time.monotonic()
    flow_run_id = UUID(this_flow_run.get_id())
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(hold_workspace(root))
            check_data_places(root)
            _tidy_database(root, flow_run_id)
            lock_code(root)
            graph = read_graph(root, targets or ())
        except InputError as error:
            return Failed(message=str(error))
        gallery = Gallery(root, flow_run_id)
        stack.callback(gallery.close)
        variables = stack.enter_context(preloaded(root, environment_in(root, os.environ), (lock,)))
        runner = StageRunner(root, slots_of_this_machine(), lock, variables)
        run = _FlowRun(root, flow_run_id, graph, runner, gallery, began)
        stack.enter_context(stopped_when_cancelled(runner.stop, flow_run_id))
        run.until_all_ended()
        seconds = time.monotonic() - began
        write_record(root, seconds, run.records)
        gallery.close()
        show_summary(root, flow_run_id, seconds, run.records)
        if not runner.stopping.is_set() and (line := renew_report(root)):
            get_run_logger().info("%s", line)
    return run.outcome()


class _FlowRun:
    """The stages of one flow run, and how they ended."""

    def __init__(
        self, root: Path, flow_run_id: UUID, graph: Graph, runner: StageRunner, gallery: Gallery, began: float
    ) -> None:
        self._flow_run_id = flow_run_id
        self.runner, self.records = runner, {name: StageRecord(node.meta.step) for name, node in graph.nodes.items()}
        self._errors: dict[str, str] = {}
        self._graph, self._gallery, self._began = graph, gallery, began
        self._lock_file = LockFile(root)

    def until_all_ended(self) -> None:
        """Submit every stage; if the wait is interrupted, end the stages first."""
        futures: dict[str, PrefectFuture[Any]] = {}
        try:
            for node in self._graph.nodes.values():
                futures[node.name] = self._task(node).submit(
                    return_state=False, wait_for=[futures[name] for name in node.upstream]
                )
            for future in futures.values():
                future.wait()
        except BaseException as problem:
            self.runner.stop()
            for future in futures.values():
                with suppress(BaseException):
                    future.wait(timeout=15)
            if not isinstance(problem, KeyboardInterrupt):
                raise

    def outcome(self) -> State[Any]:
        """The state the flow ends in."""
        all_of_them = count_text(len(self.records), "stage")
        return outcome_of(self.records, self._errors, self.runner.stopping.is_set(), all_of_them, "cached")

    def _task(self, node: StageNode) -> Task[[], Any]:
        last: list[StageRun] = []

        def run_stage() -> State[Any]:
            return self._run(node, last)

        def may_retry(*_: object) -> bool:
            return bool(last) and last[-1].passing

        # No tags: for each of them Prefect asks its server for a concurrency slot, seconds a stage, which a kill leaks.
        return Task(
            run_stage,
            name=node.label,
            task_run_name=node.label,
            description=node.title,
            retries=node.meta.retries,
            retry_delay_seconds=_SECONDS_BEFORE_RETRY,
            retry_condition_fn=may_retry,
            cache_policy=NO_CACHE,
            persist_result=False,
        )

    def _run(self, node: StageNode, last: list[StageRun]) -> State[Any]:
        record, logger = self.records[node.name], get_run_logger()
        if node.name not in self._graph.changed and self._lock_file.reads_what_was_written(node):
            record.state = "cached"
            return Completed(name="Cached", message="up to date")
        task_run_id = UUID(this_task_run.get_id())
        progress = ProgressArtifact(node, self._flow_run_id, task_run_id)
        record.attempts += 1

        def log_line(line: str) -> None:
            logger.info("%s", line.removeprefix(f"{node.name}: "))
            progress.follow(line)

        try:
            run = self.runner.run(node, log_line)
        except StageStopped:
            record.state = "cancelled"
            return Cancelled(message="stopped")
        except Exception as problem:
            record.state, self._errors[node.name] = "failed", f"{node.name}: {problem}"
            raise
        last.append(run)
        record.seconds = run.seconds
        record.marks = {name: at - self._began for name, at in run.marks.items()}
        if run.status:
            record.state, self._errors[node.name] = "failed", run.error or f"{node.name}: dvc ended with {run.status}"
            return Failed(message=self._errors[node.name])
        self._errors.pop(node.name, None)
        progress.finish()
        self._gallery.show(node, task_run_id)
        record.state = "completed" if run.ran else "cached"
        return Completed(message=f"{run.seconds:.1f} s") if run.ran else Completed(name="Cached", message="from DVC")


def flush_logs() -> bool:
    """Send the server the logs and events that Prefect still holds back; returns whether it took them all.

    At exit Prefect would wait for a server that is gone without end.
    """
    waiting = [worker.drain_all(timeout=SECONDS_TO_SEND) for worker in (APILogWorker, EventsWorker)]
    return not any(left for _, left in waiting)  # type: ignore[misc]


def _tidy_database(root: Path, flow_run_id: UUID) -> None:
    tag = workspace_tag(root)
    with get_client(sync_client=True) as client:
        tag_run(client, flow_run_id, tag)
        swept = sweep_stale_runs(client, flow_run_id, tag)
    if swept:
        get_run_logger().info("%d earlier run(s) of this workspace had been killed; now marked as crashed", swept)

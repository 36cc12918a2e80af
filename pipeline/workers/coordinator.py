"""The graph, or a plan of many experiments, as a Prefect flow whose tasks ask workers for runs of stages.

Import it only when Prefect's settings are in the environment (`prepare_environment`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Task, flow, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run as this_flow_run
from prefect.states import Cancelled, Completed, Failed, State
from prefect.task_runners import ThreadPoolTaskRunner

from pipeline.orchestrate.cancellation import stopped_when_cancelled
from pipeline.orchestrate.code_stage import lock_code, locks_of_graphs, md5_of
from pipeline.orchestrate.graph import opened
from pipeline.orchestrate.lock_entries import LockEntry, key_of
from pipeline.orchestrate.outcome import outcome_of
from pipeline.orchestrate.record import StageRecord, write_record
from pipeline.orchestrate.run_cache import Results, shared_results
from pipeline.orchestrate.slots import StageStopped
from pipeline.orchestrate.workspace import check_data_places, hold_workspace
from pipeline.runtime.errors import InputError
from pipeline.workers.asking import Workers
from pipeline.workers.client import soon_again_client
from pipeline.workers.clone import revision_of
from pipeline.workers.experiments import keep_experiments
from pipeline.workers.fetching import fetch_results
from pipeline.workers.graphs import Graphs
from pipeline.workers.plan import Plan, PlannedRun, plan_of
from pipeline.workers.pools import pool_of, register
from pipeline.workers.setting import Experiment, Experiments, Setting
from pipeline.workers.stage_request import StageRequest

_MOST_RUNS_AT_ONCE = 256
_SECONDS_BEFORE_RETRY = 2
_AS_IT_STANDS: dict[str, Any] = {"start": "", "changes": {}}


@flow(
    name="train-on-workers",
    description="Stages of dvc.yaml, each run by a worker of the pool that its meta names.",
    task_runner=ThreadPoolTaskRunner(max_workers=_MOST_RUNS_AT_ONCE),  # type: ignore[arg-type]
    persist_result=False,
)
def train_on_workers(
    settings: dict[str, dict[str, str]],
    targets: list[str] | None = None,
    experiments: dict[str, dict[str, Any]] | None = None,
) -> State[Any]:
    """Have workers run what `targets` need, all without targets, and bring the results into the workspace.

    Args:
        settings: texts of params.yaml (`params`) and dvc.yaml (`graph`), by a name; those of the workspace have none.
        experiments: by name, which of `settings` it starts from (`start`), and `changes` of its params.yaml
            (`section.key`: value). Each is then run, and where nothing of it fails becomes an experiment of DVC's;
            nothing is brought into the workspace.
    """
    root, began = Path.cwd(), time.monotonic()
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_workspace(root))
            check_data_places(root)
            revision = revision_of(root)
            lock_code(root)
            locks = locks_of_graphs(root, (texts["graph"] for texts in settings.values()))
            starts = {name: Setting(**texts) for name, texts in settings.items()}
            tried = {name: Experiment(**own) for name, own in (experiments or {"workspace": _AS_IT_STANDS}).items()}
            wanted = Experiments(starts, tried).settings()
            graphs = Graphs(root, targets or (), {path: md5_of(lock) for path, lock in locks.items()})
            plan = plan_of(wanted, graphs.of)
            with opened(root) as repo:
                results = shared_results(repo)
            with soon_again_client() as client:
                deployments = register(client)
        except InputError as error:
            return Failed(message=str(error))
        stopping = threading.Event()
        code = {path: lock.text() for path, lock in locks.items()}
        run = _Coordination(plan, revision, code, results, Workers(deployments, stopping), stopping)
        stack.enter_context(stopped_when_cancelled(stopping.set, UUID(this_flow_run.get_id())))
        run.until_all_ended()
        write_record(root, time.monotonic() - began, run.records)
        ended = run.outcome()
        try:
            if experiments is not None:
                done = {name: setting for name, setting in wanted.items() if run.has_all_of(name)}
                keep_experiments(root, done, run.lock_of, code, get_run_logger().info)
            elif ended.is_completed():
                fetch_results(root, run.lock_of(*wanted), get_run_logger().info)
        except InputError as error:
            return Failed(message=str(error))
    return ended


class _Coordination:
    """The runs of one flow, and what became of them."""

    def __init__(
        self,
        plan: Plan,
        revision: str,
        locks: Mapping[str, str],
        results: Results,
        workers: Workers,
        stopping: threading.Event,
    ) -> None:
        self._plan, self._revision, self._locks = plan, revision, locks
        self._results, self._workers = results, workers
        self._stopping = stopping
        self._entries: dict[int, LockEntry] = {}
        self._errors: dict[str, str] = {}
        self.records = {plan.name_of(run): StageRecord(run.node.meta.step) for run in plan.runs}

    def until_all_ended(self) -> None:
        """Submit every run; whatever ends the wait cancels those under way."""
        futures: dict[int, PrefectFuture[Any]] = {}
        try:
            for run in self._plan.runs:
                before = [futures[id(other)] for other in run.before.values()]
                futures[id(run)] = self._task(run).submit(return_state=False, wait_for=before)
            for future in futures.values():
                future.wait()
        except BaseException as problem:
            self._stopping.set()
            for future in futures.values():
                with suppress(BaseException):
                    future.wait(timeout=15)
            if not isinstance(problem, KeyboardInterrupt):
                raise

    def has_all_of(self, experiment: str) -> bool:
        """Whether every stage of an experiment has a result."""
        return all(id(run) in self._entries for run in self._plan.of_experiment[experiment].values())

    def lock_of(self, experiment: str) -> dict[str, LockEntry]:
        """The entries of an experiment's dvc.lock."""
        return {name: self._entries[id(run)] for name, run in self._plan.of_experiment[experiment].items()}

    def outcome(self) -> State[Any]:
        """The state the flow ends in."""
        all_of_them = f"{len(self.records)} runs of stages"
        return outcome_of(self.records, self._errors, self._stopping.is_set(), all_of_them, "known before")

    def _task(self, run: PlannedRun) -> Task[[], Any]:
        name = self._plan.name_of(run)
        passing: list[bool] = []

        def on_worker() -> State[Any]:
            return self._run(run, self.records[name], name, passing)

        def may_retry(*_: object) -> bool:
            return bool(passing) and passing[-1]

        # No tags: for each of them Prefect asks its server for a concurrency slot, seconds a stage, which a kill leaks.
        return Task(
            on_worker,
            name=name,
            task_run_name=name,
            description=run.node.title,
            retries=run.node.meta.retries,
            retry_delay_seconds=_SECONDS_BEFORE_RETRY,
            retry_condition_fn=may_retry,
            cache_policy=NO_CACHE,
            persist_result=False,
        )

    def _run(self, run: PlannedRun, record: StageRecord, name: str, passing: list[bool]) -> State[Any]:
        logger, began = get_run_logger(), time.monotonic()
        before = {stage: self._entries[id(other)] for stage, other in run.before.items()}
        expected = run.declared.entry(run.params, before)
        entry = self._results.first(key_of(expected))
        if entry is not None:
            self._entries[id(run)], record.state = entry, "cached"
            return Completed(name="Cached", message="known")
        record.attempts += 1
        request = StageRequest(
            stage=run.node.name,
            revision=self._revision,
            params=run.setting.params,
            graph=run.setting.graph,
            before=before,
            expected=expected,
            code={path: self._locks[path] for path in run.declared.files if path in self._locks},
        )
        try:
            ended = self._workers.run(request, pool_of(run.node), _line_logger(logger, run.node.name))
        except StageStopped:
            record.state = "cancelled"
            return Cancelled(message="stopped")
        record.seconds = time.monotonic() - began
        passing.append(ended.may_retry)
        entry = None if ended.error else self._results.first(key_of(expected))
        if entry is None:
            record.state = "failed"
            self._errors[name] = ended.error or (
                f"{run.node.name}: its worker has kept the result where it is not found from here; "
                "have one cache folder (dvc cache dir --local) or one remote (dvc remote add --default) in all clones"
            )
            return Failed(message=self._errors[name])
        self._errors.pop(name, None)
        self._entries[id(run)], record.state = entry, "completed"
        return Completed(message=f"{record.seconds:.1f} s")


def _line_logger(logger: Any, stage: str) -> Callable[[str], None]:
    return lambda line: logger.info("%s", line.removeprefix(f"{stage}: "))

"""What `frcnn flow` and `frcnn ui` do: the graph under Prefect, its server found or started."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.graphs.present import check_graph
from pipeline.graphs.writing import graph_to_make
from pipeline.orchestrate.precision import slow_precision
from pipeline.orchestrate.server import prefect_server, prepare_environment
from pipeline.orchestrate.version_change import version_change
from pipeline.orchestrate.workspace import refuse_if_held
from pipeline.runtime.errors import InputError
from pipeline.runtime.surroundings import check_repository
from pipeline.runtime.variables import check_variables


def run_flow(root: Path, stages: Sequence[str], log: Callable[[str], None]) -> None:
    """Run the stages, all if none is named, and log where to watch them and how they ended.

    Exits with 130 where it was cancelled.

    Raises:
        InputError: another flow is at work in `root`, dvc.yaml or params.yaml is wrong, or a stage failed.
        StartedOtherwise: a variable of the environment is wrong.
    """
    check_variables(side_by_side=True)
    check_repository(root)
    check_graph(root)
    refuse_if_held(root)
    prepare_environment(root)
    for line in filter(None, (graph_to_make(root), version_change(root), slow_precision(root))):
        log(line)
    with prefect_server(root) as server:
        from pipeline.orchestrate.flow import flush_logs, train
        from pipeline.orchestrate.prefect_artifacts import summary_text
        from pipeline.orchestrate.record import read_record

        server.wait()
        log(f"watch it at {server.url}/runs")
        try:
            state = train(list(stages), return_state=True)
        finally:
            sent = flush_logs()
        if state.is_completed() or state.is_cancelled():
            log(f"\n{summary_text(root, *read_record(root))}")
    message = state.message or "the flow failed; see its log"
    status = 0 if state.is_completed() else 130 if state.is_cancelled() else 1
    if not sent:
        log(f"{message}; Prefect's server did not take the last logs")
        sys.stdout.flush()
        os._exit(status)
    if status == 1:
        raise InputError(message)
    sys.exit(status)


def keep_pages_open(root: Path, log: Callable[[str], None]) -> None:
    """Serve Prefect's pages until Ctrl-C."""
    prepare_environment(root)
    with prefect_server(root) as server:
        server.wait()
        log(f"{server.url} (Ctrl-C ends it)")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            log("stopped")

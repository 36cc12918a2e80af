"""What `frcnn flow --on-workers` and `frcnn sweep` do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.orchestrate.server import prefect_server, prepare_environment
from pipeline.orchestrate.workspace import refuse_if_held
from pipeline.runtime.errors import InputError
from pipeline.runtime.surroundings import check_repository
from pipeline.runtime.variables import check_variables
from pipeline.workers.setting import Experiments, present_setting


def run_on_workers(
    root: Path, stages: Sequence[str], log: Callable[[str], None], experiments: Experiments | None = None
) -> None:
    """Have workers run the stages, all where none is named.

    Args:
        experiments: what is to become experiments of DVC's; None: the workspace as it stands, and the results are
            brought into it.

    Exits with 130 where it was cancelled.

    Raises:
        InputError: another run is at work in `root`, or a stage failed.
        StartedOtherwise: a variable of the environment is wrong.
    """
    check_variables()
    check_repository(root)
    refuse_if_held(root)
    starts = {"": present_setting(root)} if experiments is None else experiments.starts
    prepare_environment(root)
    with prefect_server(root) as server:
        from pipeline.orchestrate.flow import flush_logs
        from pipeline.workers.coordinator import train_on_workers

        server.wait()
        log(f"watch it at {server.url}/runs")
        log(f"workers join it with PREFECT_API_URL={server.url}/api frcnn worker --pool gpu (or cpu), each in a clone")
        try:
            state = train_on_workers(
                {name: asdict(setting) for name, setting in starts.items()},
                list(stages),
                None if experiments is None else {name: asdict(own) for name, own in experiments.tried.items()},
                return_state=True,
            )
        finally:
            flush_logs()
    if state.is_completed():
        return
    if state.is_cancelled():
        sys.exit(130)
    raise InputError(state.message or "the flow failed; see its log")

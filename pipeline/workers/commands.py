"""What `frcnn flow --on-workers` and `frcnn sweep` do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.orchestrate.server import prefect_server, prepare_environment
from pipeline.orchestrate.workspace import refuse_if_held
from pipeline.runtime.errors import InputError
from pipeline.runtime.surroundings import check_repository


def run_on_workers(
    root: Path,
    stages: Sequence[str],
    log: Callable[[str], None],
    experiments: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Have workers run the stages, all where none is named.

    Args:
        experiments: changes of params.yaml by name, each to become an experiment of DVC's; None: params.yaml as it
            stands, its results to be brought into the workspace.

    Exits with 130 where it was cancelled.

    Raises:
        InputError: another run is at work in `root`, or a stage failed.
    """
    check_repository(root)
    refuse_if_held(root)
    params = read_params(root)
    prepare_environment(root)
    with prefect_server(root) as server:
        from pipeline.orchestrate.flow import flush_logs
        from pipeline.workers.coordinator import train_on_workers

        server.wait()
        log(f"watch it at {server.url}/runs")
        log(f"workers join it with PREFECT_API_URL={server.url}/api frcnn worker --pool gpu (or cpu), each in a clone")
        try:
            changes = None if experiments is None else {name: dict(own) for name, own in experiments.items()}
            state = train_on_workers(params, list(stages), changes, return_state=True)
        finally:
            flush_logs()
    if state.is_completed():
        return
    if state.is_cancelled():
        sys.exit(130)
    raise InputError(state.message or "the flow failed; see its log")


def read_params(root: Path) -> str:
    """The text of params.yaml.

    Raises:
        InputError: there is none.
    """
    try:
        return (root / "params.yaml").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{root / 'params.yaml'}: no such file; run in the project's folder") from None

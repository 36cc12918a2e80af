"""`frcnn worker`: a Prefect worker that runs the graph of this folder on request."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeline.orchestrate.guarded import Guarded
from pipeline.orchestrate.server import prefect_server, prepare_environment
from pipeline.runtime.errors import InputError
from pipeline.runtime.variables import check_variables

# A cancelled flow needs up to ten seconds to end its stages.
_GRACE_SECONDS = 30.0


def run_worker(root: Path, pool: str, log: Callable[[str], None]) -> None:
    """Register the work pool and the deployment of prefect.yaml, then serve them, one flow at a time, until Ctrl-C.

    Raises:
        InputError: there is no server, or a step of Prefect's failed; its lines say why.
        StartedOtherwise: a variable of the environment is wrong.
    """
    check_variables(side_by_side=True)
    root = Path(root).resolve()
    prepare_environment(root)
    with prefect_server(root) as server:
        server.wait()
        _prefect_quietly(root, log, "work-pool", "create", pool, "--type", "process", "--overwrite")
        _prefect_quietly(root, log, "--no-prompt", "deploy", "--all", "--pool", pool)
        log(f"press Run at {server.url}/deployments, or run: prefect deployment run train/this-machine")
        with suppress(KeyboardInterrupt):
            run_prefect(root, log, "worker", "start", "--pool", pool, "--type", "process", "--limit", "1")
            return
        log("stopped")


def _prefect_quietly(root: Path, log: Callable[[str], None], *arguments: str) -> None:
    lines: list[str] = []
    try:
        run_prefect(root, lines.append, *arguments)
    except InputError:
        for line in lines:
            log(line)
        raise


def run_prefect(root: Path, log: Callable[[str], None], *arguments: str, module: str = "prefect", **more: str) -> None:
    """Run a command of Prefect's that finds the project's code in `root`, with more environment variables.

    Args:
        module: the one that Python runs, Prefect's own or one of the project that does the same.

    Raises:
        InputError: it failed.
    """
    guarded = Guarded(
        [sys.executable, "-m", module, *arguments],
        cwd=root,
        environment=environment_for_prefect(root, **more),
        grace_seconds=_GRACE_SECONDS,
    )
    status = guarded.wait(log)
    if status:
        raise InputError(f"prefect {' '.join(arguments)} ended with status {status}; see what it said above")


def environment_for_prefect(root: Path, **more: str) -> dict[str, str]:
    """That of this process, in which the project's code is found in `root`, with more variables."""
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PWD": str(root), "PYTHONPATH": path, **more}

"""`frcnn worker --pool gpu`: a Prefect worker that runs stages in its clone for a coordinator."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipeline.orchestrate.server import prefect_server, prepare_environment
from pipeline.orchestrate.worker import environment_for_prefect, run_prefect
from pipeline.orchestrate.workspace import WORKSPACE_VARIABLE, environment_in
from pipeline.preload import stage_client, stage_python
from pipeline.preload.run_engine import ADDRESS, copy_to
from pipeline.runtime.errors import InputError
from pipeline.runtime.locking import try_lock
from pipeline.runtime.variables import check_variables, preloads
from pipeline.workers.kept import kept

_SETTINGS = {
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_WORKER_QUERY_SECONDS": "0.5",  # 10 of its own, which would be most of a short stage's time
}
ENGINE = "pipeline.workers.warm_engine"
_COMMANDS = Path(".dvc/tmp/frcnn-worker")
"""Folder in a clone of what no checkout changes: the command that the worker starts for a run."""


def serve_stages(root: Path, pool: str, log: Callable[[str], None]) -> None:
    """Serve one stage at a time until Ctrl-C; on GPUs, one that no other worker of the machine has.

    Raises:
        InputError: no server is named or it does not answer, this clone has a worker already, or Prefect failed.
        StartedOtherwise: a variable of the environment is wrong.
    """
    check_variables()
    root = Path(root).resolve()
    if "PREFECT_API_URL" not in os.environ:
        raise InputError("PREFECT_API_URL must name the coordinator's server, as frcnn ui and frcnn flow print it")
    with _only_worker_of(root):
        prepare_environment(root)
        with prefect_server(root):
            # Prefect's settings are fixed when it is imported.
            from pipeline.workers.client import soon_again_client
            from pipeline.workers.pools import CLONE, WORKER, register

            with soon_again_client() as client:
                register(client)
            name = f"{socket.gethostname()}-{root.name}-{os.getpid()}"
            log(f"{name} serves the pool {pool}; Ctrl-C ends it")
            start = ("worker", "start", "--pool", pool, "--type", "process", "--limit", "1", "--name", name)
            with suppress(KeyboardInterrupt):
                settings = {setting: os.environ.get(setting, value) for setting, value in _SETTINGS.items()}
                more = {CLONE: str(root), WORKER: name, "PATH": _path_to_python(), **settings}
                copy_to(root / _COMMANDS)
                path = f"{root / _COMMANDS}{os.pathsep}{environment_for_prefect(root)['PYTHONPATH']}"
                own = {**more, "PYTHONPATH": path}
                with _warm_processes(root, log, more, own) as addresses:
                    run_prefect(root, log, *start, module="pipeline.workers.prefect_command", **own, **addresses)
                return
            log("stopped")


@contextmanager
def _only_worker_of(root: Path) -> Iterator[None]:
    place = root / ".dvc" / "tmp"
    if not place.parent.is_dir():
        raise InputError(f"{root}: no DVC repository here; run it in a clone of the project")
    place.mkdir(exist_ok=True)
    descriptor = os.open(place / "frcnn-worker.lock", os.O_RDWR | os.O_CREAT, 0o666)
    lock = try_lock(descriptor)
    if lock is None:
        os.close(descriptor)
        raise InputError(f"{root}: has a worker already; each worker needs a clone of its own")
    try:
        yield
    finally:
        os.close(lock)


@contextmanager
def _warm_processes(
    root: Path, log: Callable[[str], None], of_engine: Mapping[str, str], of_runs: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """Keep the processes that runs and their stages are forked from, and yield the variables that name them.

    Args:
        of_engine: environment variables of the worker. of_runs: those of its runs.
    """
    # A folder of this user's alone: whoever reaches the sockets runs code as this user.
    with tempfile.TemporaryDirectory(prefix="frcnn-engine-") as folder, ExitStack() as stack:
        addresses = {ADDRESS: str(Path(folder) / "engine")}
        engine = [sys.executable, "-m", ENGINE, addresses[ADDRESS]]
        environment = environment_for_prefect(root, **of_engine)
        stack.enter_context(kept(engine, root, environment, addresses[ADDRESS], log))
        if preloads():
            addresses[stage_client.ADDRESS] = address = str(Path(folder) / "stages")
            environment = environment_in(root, environment_for_prefect(root, **of_runs))
            del environment[WORKSPACE_VARIABLE]  # it serves more than one run that holds the workspace
            stack.enter_context(kept(stage_python.command(address), root, environment, address, log))
        yield addresses


def _path_to_python() -> str:
    """PATH with this environment's `python` first."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

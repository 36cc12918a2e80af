"""`frcnn worker --pool gpu`: a Prefect worker that runs stages in its clone for a coordinator."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.orchestrate.guarded import Guarded
from pipeline.orchestrate.server import prefect_server, prepare_environment
from pipeline.orchestrate.worker import environment_for_prefect, run_prefect
from pipeline.runtime.errors import InputError
from pipeline.runtime.locking import try_lock
from pipeline.runtime.variables import check_variables
from pipeline.workers import run_engine
from pipeline.workers.run_engine import ADDRESS, MODULE

_SETTINGS = {
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_WORKER_QUERY_SECONDS": "0.5",  # 10 of its own, which would be most of a short stage's time
}
_SECONDS_BETWEEN_ENGINES = 2.0
_MOST_FAILED_STARTS = 3
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
                _copy_command(root / _COMMANDS)
                path = f"{root / _COMMANDS}{os.pathsep}{environment_for_prefect(root)['PYTHONPATH']}"
                with _warm_engine(root, log, more) as address:
                    own = {**more, ADDRESS: address, "PYTHONPATH": path}
                    run_prefect(root, log, *start, module="pipeline.workers.prefect_command", **own)
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


def _copy_command(folder: Path) -> None:
    """Have `run_engine` in a folder as `MODULE`; it needs nothing else of the project."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(run_engine.__file__, folder / f"{MODULE}.py")


@contextmanager
def _warm_engine(root: Path, log: Callable[[str], None], more: Mapping[str, str]) -> Iterator[str]:
    """Keep a warm engine for the worker of a clone, and yield the path of its socket.

    One that ends is replaced. When three in a row have ended before they listened, the next starts when the clone has
    another version of it: a run may have checked out a commit that has none.

    Args:
        more: environment variables of the worker.
    """
    # A folder of this user's alone: whoever reaches the socket runs code as this user.
    with tempfile.TemporaryDirectory(prefix="frcnn-engine-") as folder:
        address, module = str(Path(folder) / "socket"), root / "pipeline/workers/warm_engine.py"
        command = [sys.executable, "-m", "pipeline.workers.warm_engine", address]
        environment = environment_for_prefect(root, **more)

        def start() -> Guarded:
            return Guarded(command, cwd=root, environment=environment)

        closing, engines = threading.Event(), [start()]

        def keep() -> None:
            failed = 0
            while True:
                version = _changed_at(module)
                engines[-1].wait(log)
                failed = 0 if os.path.exists(address) else failed + 1
                with suppress(FileNotFoundError):
                    os.unlink(address)
                if closing.wait(_SECONDS_BETWEEN_ENGINES):
                    return
                if failed == _MOST_FAILED_STARTS:
                    log(
                        f"the warm engine failed to start {failed} times, as said above; runs start a Python of their "
                        "own until the clone has another version of it"
                    )
                    while _changed_at(module) == version:
                        if closing.wait(_SECONDS_BETWEEN_ENGINES):
                            return
                    failed = 0
                engines[:] = [start()]
                if closing.is_set():
                    engines[-1].stop()

        keeper = threading.Thread(target=keep, daemon=True)
        keeper.start()
        try:
            yield address
        finally:
            closing.set()
            engines[-1].stop()
            keeper.join()


def _changed_at(path: Path) -> int | None:
    """When a file was written, ns; None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _path_to_python() -> str:
    """PATH with this environment's `python` first."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

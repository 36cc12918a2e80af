"""`frcnn worker --pool gpu`: a Prefect worker that runs stages in its clone for a coordinator."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.orchestrate.server import prefect_server, prepare_environment
from pipeline.orchestrate.worker import run_prefect
from pipeline.runtime.errors import InputError
from pipeline.runtime.locking import try_lock

_SETTINGS = {
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_WORKER_QUERY_SECONDS": "2",  # 10 of its own, which would be most of a short stage's time
}


def serve_stages(root: Path, pool: str, log: Callable[[str], None]) -> None:
    """Serve one stage at a time until Ctrl-C; on GPUs, one that no other worker of the machine has.

    Raises:
        InputError: no server is named or it does not answer, this clone has a worker already, or Prefect failed.
    """
    root = Path(root).resolve()
    if "PREFECT_API_URL" not in os.environ:
        raise InputError("PREFECT_API_URL must name the coordinator's server, as frcnn ui and frcnn flow print it")
    with _only_worker_of(root):
        prepare_environment(root)
        with prefect_server(root):
            # Prefect's settings are fixed when it is imported.
            from prefect import get_client

            from pipeline.workers.pools import CLONE, WORKER, register

            with get_client(sync_client=True) as client:
                register(client)
            name = f"{socket.gethostname()}-{root.name}-{os.getpid()}"
            log(f"{name} serves the pool {pool}; Ctrl-C ends it")
            start = ("worker", "start", "--pool", pool, "--type", "process", "--limit", "1", "--name", name)
            with suppress(KeyboardInterrupt):
                run_prefect(root, log, *start, **{CLONE: str(root), WORKER: name, **_SETTINGS})
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

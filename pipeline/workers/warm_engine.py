"""`python -m pipeline.workers.warm_engine SOCKET`: runs the flow runs of a worker without importing Prefect each time.

It imports Prefect, DVC and what else a run needs once. For each process that asks (`pipeline.preload.run_engine`), it
forks one that runs `prefect.engine` in the environment of that process. It has no threads, so it can fork safely. It
runs one at a time, as a worker does. If a module of the project has changed since it was imported, the run starts a
Python of its own and this process ends; the worker starts another.
"""

from __future__ import annotations

import importlib
import os
import random
import runpy
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.preload.serving import QuickEnd, Request, Server

_IMPORTED = (
    "pipeline.workers.stage_run",
    "prefect.flow_engine",
    "anyio._backends._asyncio",
    # What DVC imports only when it is used.
    *(f"dvc.repo.{name}" for name in ("artifacts", "brancher", "datasets", "index", "metrics", "params", "plots")),
    *(f"dvc.{name}" for name in ("cachemgr", "data_cloud", "repo.stage", "repo.worktree", "scm")),
    *(f"dvc_data.index.{name}" for name in ("checkout", "fetch", "push")),
    "scmrepo.git",
)
_GRACE_SECONDS = 30.0


def main() -> None:
    """Serve until the code has changed; in the processes that are forked, run what is asked for."""
    quick_end, code = QuickEnd(), Code()
    for module in _IMPORTED:
        importlib.import_module(module)
    from prefect.settings import get_current_settings

    from pipeline.workers.client import repeat_soon_in_this_process

    repeat_soon_in_this_process()
    settings = {**os.environ, **get_current_settings().to_environment_variables(exclude_unset=True)}
    with suppress(FileNotFoundError):
        os.unlink(sys.argv[1])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        request = serve(listener, code, settings)
    if request is not None:
        request.take_place()
        quick_end.after(_run_engine)


class Code:
    """The project's modules, as their files are before this process imports them.

    Imports last seconds, in which the first run of a worker may check out another commit. So make it before them.
    """

    def __init__(self, root: Path = Path(__file__).parents[2]) -> None:
        self._package = root / "pipeline"
        self._versions = {str(path): _version(path) for path in self._package.rglob("*.py")}

    def has_changed(self) -> bool:
        """Whether the file of a module that has been imported is another now, or was not there."""
        files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
        own = [file for file in files if file and file.startswith(f"{self._package}{os.sep}")]
        return any(_version(Path(file)) != self._versions.get(file) for file in own)


def serve(listener: socket.socket, code: Code, settings: Mapping[str, str]) -> Request | None:
    """Fork a process for each request, one at a time, and see it to its end.

    Where the process that asked for it is gone, this stops the forked one, and waits up to `_GRACE_SECONDS` for its
    end. The next request waits as long; it could not begin before, since the stopped run holds the clone.

    Args:
        settings: the environment in which Prefect's settings were read.

    Returns:
        in a forked process what it is to run; in this one None, when the code has changed.
    """

    def may_fork(request: Request) -> bool:
        return not code.has_changed() and _prefects(request.environment) == _prefects(settings)

    return Server(listener, may_fork, code.has_changed, at_once=1, grace_seconds=_GRACE_SECONDS).serve()


def _run_engine() -> None:
    """Run `prefect.engine` as a process of its own would."""
    random.seed()
    sys.argv = ["prefect.engine"]
    sys.modules.pop("prefect.engine", None)
    with without_heartbeats():
        runpy.run_module("prefect.engine", run_name="__main__")


@contextmanager
def without_heartbeats() -> Iterator[None]:
    """Have Prefect emit no events that a run is alive, unless PREFECT_FLOWS_HEARTBEAT_FREQUENCY is set.

    The coordinator looks at the worker's signs of life instead, and the thread that emits them ends up to 1 s late.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings, temporary_settings

    is_set = "heartbeat_frequency" in get_current_settings().flows.model_fields_set
    with temporary_settings({} if is_set else {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _prefects(environment: Mapping[str, str]) -> dict[str, str]:
    """Prefect's settings, without what is of one run."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("PREFECT_") and not name.startswith("PREFECT__")
    }


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size


if __name__ == "__main__":
    main()

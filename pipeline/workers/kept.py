"""Keeps the processes of a worker that others are forked from (`pipeline.preload`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.orchestrate.guarded import Guarded

_SECONDS_BETWEEN_STARTS = 2.0
_MOST_FAILED_STARTS = 3


@contextmanager
def kept(
    command: Sequence[str], root: Path, environment: Mapping[str, str], address: str, log: Callable[[str], None]
) -> Iterator[None]:
    """Keep a process within this: one that ends is replaced.

    When three in a row have ended before they listened, the next starts when the clone has another version of it: a run
    may have checked out a commit that has none.

    Args:
        command: `python -m MODULE ...`, a module of the project. root: the worker's clone.
        address: the path of its socket.
    """
    module = command[2]
    source = (root / module.replace(".", "/")).with_suffix(".py")

    def start() -> Guarded:
        return Guarded(command, cwd=root, environment=environment)

    closing, processes = threading.Event(), [start()]

    def keep() -> None:
        failed = 0
        while True:
            version = _changed_at(source)
            processes[-1].wait(log)
            failed = 0 if os.path.exists(address) else failed + 1
            with suppress(FileNotFoundError):
                os.unlink(address)
            if closing.wait(_SECONDS_BETWEEN_STARTS):
                return
            if failed == _MOST_FAILED_STARTS:
                log(
                    f"{module} failed to start {failed} times, as said above; runs and stages that need it start their "
                    f"own Python until {source} changes or the worker is restarted"
                )
                while _changed_at(source) == version:
                    if closing.wait(_SECONDS_BETWEEN_STARTS):
                        return
                failed = 0
            processes[:] = [start()]
            if closing.is_set():
                processes[-1].stop()

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        yield
    finally:
        closing.set()
        processes[-1].stop()
        keeper.join()


def _changed_at(path: Path) -> int | None:
    """When a file was written, ns; None where there is none."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None

"""How a run has a Python for its stages that has imported their libraries."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.orchestrate.guarded import GUARD, Guarded
from pipeline.preload.stage_client import ADDRESS
from pipeline.preload.stage_python import command
from pipeline.runtime.variables import preloads

GRACE_SECONDS = 300.0
"""For stages to end an iteration and write their states where the run is gone."""


def _is_wanted(environment: Mapping[str, str]) -> bool:
    return preloads() and ADDRESS not in environment and sys.platform == "linux"


def new_address() -> str:
    """An address where nobody listens yet."""
    return f"@frcnn-{secrets.token_hex(16)}"


@contextmanager
def preloaded(root: Path, environment: Mapping[str, str], keep_open: Sequence[int] = ()) -> Iterator[dict[str, str]]:
    """Run one inside the `with` block, and yield the variable that names it to stages.

    Yields nothing if FRCNN_PRELOAD is 0, if `environment` already names one, or on another system than Linux.

    Args:
        root: the project. environment: that in which DVC runs stages.
        keep_open: file descriptors that stay open as long as a stage in a fork of it may be alive.

    Raises:
        StartedOtherwise: a variable of the environment is wrong.
    """
    if not _is_wanted(environment):
        yield {}
        return
    address = new_address()
    guarded = Guarded(
        command(address), cwd=root, environment=environment, grace_seconds=GRACE_SECONDS, keep_open=keep_open
    )
    try:
        yield {ADDRESS: address}
    finally:
        guarded.stop()
        guarded.wait(lambda line: None)


def preloaded_until_this_ends(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """As `preloaded`, until this process ends, also if another program takes its place."""
    if not _is_wanted(environment):
        return {}
    address = new_address()
    ends, held = os.pipe()  # the guard ends it when nobody has the other end any more
    try:
        subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), str(GRACE_SECONDS), *command(address)],
            cwd=root,
            env=dict(environment),
            stdin=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.close(ends)
    os.set_inheritable(held, True)
    return {ADDRESS: address}

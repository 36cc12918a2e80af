"""How a run has a Python for its stages that has imported their libraries."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.orchestrate.guarded import GUARD, Guarded
from pipeline.preload.stage_client import ADDRESS
from pipeline.preload.stage_python import command
from pipeline.runtime.variables import preloads

GRACE_SECONDS = 30.0
"""For stages to write their states where the run is gone."""


def new_address() -> str:
    """An address where nobody listens yet."""
    return f"@frcnn-{secrets.token_hex(16)}"


@contextmanager
def preloaded(root: Path, environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Have one within this, and yield the variable that names it to stages; none where the environment declines, or
    already names one.

    Args:
        root: the project. environment: that in which DVC runs stages.

    Raises:
        StartedOtherwise: a variable of the environment is wrong.
    """
    if not preloads() or ADDRESS in environment:
        yield {}
        return
    address = new_address()
    guarded = Guarded(command(address), cwd=root, environment=environment, grace_seconds=GRACE_SECONDS)
    try:
        yield {ADDRESS: address}
    finally:
        guarded.stop()
        guarded.wait(lambda line: None)


def preloaded_until_this_ends(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """As `preloaded`, until this process ends, also if another program takes its place."""
    if not preloads() or ADDRESS in environment:
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

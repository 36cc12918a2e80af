"""Waiting for other processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil

SECONDS = 120.0


def until(find: Callable[[], Any], problem: str) -> Any:
    """What `find` finds, as soon as it finds something."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(problem)


def has_ended(process: psutil.Process) -> bool:
    """Whether it is gone, or a zombie that nobody asks for."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

"""Waiting for other processes."""

from __future__ import annotations

import os
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
    """Whether it is gone, or a zombie that nobody asks for, with all of its threads, which keep its files open."""
    try:
        if not process.is_running():
            return True
        return process.status() == psutil.STATUS_ZOMBIE and len(os.listdir(f"/proc/{process.pid}/task")) == 1
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True

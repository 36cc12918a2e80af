"""Fuzzers run in a process of their own, which the system ends where it takes too much memory or time.

A fuzzer prints the number of each case before it begins, so that the last line names the one that ended it.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

MOST_MEMORY = 1 << 30  # resident bytes, libraries included
LONGEST_CASE = 60  # s; a case takes some thousandths, so that only a hang takes as many


def limit_memory(more: int | None = None) -> None:
    """Let this process take `more` bytes of address space; None: so many that it cannot come to hold a GiB."""
    page = resource.getpagesize()
    size, resident = (int(pages) * page for pages in Path("/proc/self/statm").read_text().split()[:2])
    limit = size + (MOST_MEMORY - resident if more is None else more)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def begin(case: int) -> None:
    """Tell that a case begins; the kernel ends the process if the next does not begin in time."""
    signal.alarm(LONGEST_CASE)
    print(case, flush=True)


def peak() -> int:
    """The most bytes that this process has held in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project's folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200, check=False
    )


def fuzz(module: str, count: int, *arguments: str) -> str:
    """Run a fuzzer of `count` cases; the line that it ends with, which tells its peak of memory last."""
    result = run("-m", module, *arguments)
    lines = result.stdout.splitlines()
    assert result.returncode == 0, f"{module}, case {lines[-1:]}: {result.returncode}, {result.stderr[-2000:]}"
    *cases, summary = lines
    assert len(cases) == count
    assert int(summary.split()[-2]) << 20 < MOST_MEMORY, summary
    print(summary)
    return summary

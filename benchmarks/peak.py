"""Peak memory and CPU time of a command: used_by([sys.executable, "-m", "stages.resize", ...], project)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ALLOWED_BYTES, ALLOWED_SHARE = 64 << 20, 0.05
"""What a stage's peak may grow with the number of images: the larger of the two, in bytes and as a share."""

# A process counts as its peak what its parent held when it was forked, so a small one stands between.
_MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)
sys.exit(process.returncode)
"""


@dataclass(frozen=True)
class Usage:
    """What a process used: peak resident bytes, and CPU seconds, user's and system's."""

    peak: int
    cpu_seconds: float


def used_by(command: Sequence[str], root: Path) -> Usage:
    """What `command` uses, run in the project in `root` with its code.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    result = subprocess.run(
        [sys.executable, "-c", _MEASURE, *command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    peak, cpu_seconds = result.stdout.split()
    return Usage(int(peak), float(cpu_seconds))


def peak_bytes(command: Sequence[str], root: Path) -> int:
    """`used_by`, the peak alone."""
    return used_by(command, root).peak


def is_allowed(small: int, grown: int) -> bool:
    """Whether a peak of `small` bytes may have grown by `grown`."""
    return grown <= max(ALLOWED_BYTES, ALLOWED_SHARE * small)

"""How a stage asks for a Python that has imported its libraries (`pipeline.preload.stage_python`)."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import NoReturn

from pipeline.preload.client import COLD, ask, end_as
from pipeline.runtime.stopping import PARENT_IS_GONE, started_by

ADDRESS = "FRCNN_PRELOADED"
"""Environment variable of a run's stages: where such a Python listens."""

_RUN_BY_DVC = "DVC_ROOT"
_OWN = ("FRCNN_", "DVC_", "PREFECT_")
"""Prefixes of variables that no library of a stage reads while it is imported."""
_OTHERS = (
    *("PATH", "PWD", "OLDPWD", "SHLVL", "_", "PS1", "PS2", "PS4", "COLUMNS", "LINES"),  # shells change them
    "CUDA_VISIBLE_DEVICES",  # torch reads it when it is first asked for a GPU
)
"""Others of that kind."""
_LIMITS = 16
"""Linux has so many, numbered from 0 (getrlimit(2))."""


def run_elsewhere() -> None:
    """Where the environment names such a Python and it runs this process's command, end as that does."""
    address = os.environ.pop(ADDRESS, "")
    if not address or sys.orig_argv[1:2] != ["-m"]:
        return
    with suppress(OSError):
        while (last := os.open(os.devnull, os.O_RDWR)) < 3:  # one of the three streams is closed
            pass
        os.close(last)
    _, _, module, *arguments = sys.orig_argv
    content = {"module": module, "arguments": arguments, "conditions": conditions()}
    ends = _ends_of_parents()
    answer = ask(address, content, ends)
    if answer != COLD:
        _end(answer, arguments)
    for descriptor in ends:
        os.close(descriptor)


def conditions() -> dict[str, object]:
    """What a process begins with that its libraries or the system may heed, for JSON. A stage runs only in a fork of a
    process that has begun with the same."""
    mask = os.umask(0)
    os.umask(mask)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(_OWN) and name not in _OTHERS
    }
    return {
        "python": [os.path.realpath(sys.executable), sys.prefix],
        "environment": environment,
        "umask": mask,
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "cores": sorted(os.sched_getaffinity(0)),
        "limits": [list(resource.getrlimit(limit)) for limit in range(_LIMITS)],
    }


def _ends_of_parents() -> dict[int, int]:
    """Under DVC, see `pipeline.runtime.stopping.end_with_parent`."""
    found: dict[int, int] = {}
    if _RUN_BY_DVC in os.environ:
        for pid in started_by():
            with suppress(OSError):
                found[os.pidfd_open(pid)] = PARENT_IS_GONE
    return found


def _end(answer: str, arguments: Sequence[str]) -> NoReturn:
    if not answer:
        problem = "the process that stages are forked from was killed, perhaps because memory ran out"
        line = f"{_stage_in(arguments)}: error: {problem}; run again to resume, or set FRCNN_PRELOAD=0"
        print(line, file=sys.stderr, flush=True)
        os._exit(os.EX_TEMPFAIL)  # trying again may help, see `pipeline.orchestrate.dvc_stage`
    os._exit(end_as(answer))


def _stage_in(arguments: Sequence[str]) -> str:
    """The stage's name, as `run_stage` has it."""
    given = dict(pairwise(arguments))
    return given.get("--stage") or os.path.basename(given.get("--out", "stage"))

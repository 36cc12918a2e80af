"""`python -S -m frcnn_run_engine`: the process that a Prefect worker starts for a run.

It is found under this name in a copy that the worker makes when it starts, since runs check out other commits in the
worker's clone, and older commits do not have this module.

The worker's warm engine (`pipeline.workers.warm_engine`) runs it, in a process with the environment, the folder and
the output of this one. This one passes signals on, and ends as that one does. Where there is no warm engine that could
do so, this becomes `python -m prefect.engine`. Imports the standard library only, so that it starts in milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress

ADDRESS = "FRCNN_WORKER_ENGINE"
"""Environment variable of a worker: the socket of its warm engine."""

COLD = "cold"
"""What a warm engine answers that cannot run it."""

MODULE = "frcnn_run_engine"
"""The name of a worker's copy of this module."""

_RELAYED = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """The exit status of the run."""
    answer = _ask(os.environ.get(ADDRESS, ""))
    if answer == COLD:
        os.execv(sys.executable, [sys.executable, "-m", "prefect.engine"])
    status = int(answer) if answer else 1  # the engine was killed
    if status >= 0:
        return status
    if status != -signal.SIGKILL:  # which is always its own
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
    return 128 - status  # after a signal that does not end a process


def _ask(address: str) -> str:
    """How the run ended, as `subprocess.Popen.returncode` has it; empty where the warm engine is gone, or `COLD`."""
    with socket.socket(socket.AF_UNIX) as engine:
        try:
            engine.connect(address)
            socket.send_fds(engine, [b"\n"], [0, 1, 2])
            request = {"environment": dict(os.environ), "folder": os.getcwd()}
            engine.sendall(f"{json.dumps(request)}\n".encode())
        except OSError:
            return COLD
        for number in _RELAYED:
            signal.signal(number, lambda number, _frame: _relay(engine, number))
        answer = b""
        while part := engine.recv(64):
            answer += part
        if answer.decode().strip() == COLD:
            for number in _RELAYED:
                signal.signal(number, signal.SIG_DFL)
    return answer.decode().strip()


def _relay(engine: socket.socket, number: int) -> None:
    with suppress(OSError):  # it has just ended
        engine.sendall(bytes([number]))


if __name__ == "__main__":
    sys.exit(main())

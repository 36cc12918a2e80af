"""The two ways in which a process of a stage is started; see `pipeline.runtime.processes`.

A fork of the stage's own process has imported all that this one has, and starts in milliseconds; importing torch takes
seconds. Forked from a process in which torch has computed in several threads, or has asked CUDA for a GPU, it could
hang or fail. Then processes are started anew.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NoReturn, Protocol

from pipeline.runtime.code_locks.running import RunningCode
from pipeline.runtime.process_work import Task, begin


class Process(Protocol):
    """A process that was started."""

    def kill(self) -> None:
        """Send SIGKILL, unless its end is known."""

    def wait(self) -> int:
        """Wait for its end; the exit status, or minus the number of the signal that ended it."""


class Forked:
    """A process that was forked, by its id."""

    def __init__(self, pid: int) -> None:
        self._pid, self._status = pid, None

    _status: int | None

    def kill(self) -> None:
        """As of `Process`."""
        if self._status is None:  # until it is waited for, no other process can have its id
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> int:
        """As of `Process`."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._status


def can_fork(task: Task, has_gpu: bool) -> bool:
    """Whether the processes of a task may be forked: Python was started for this stage, torch has one thread, as it has
    until a stage asks for more, and finds no GPU. Other systems than Linux have libraries that do not survive it."""
    torch = sys.modules.get("torch")
    has_threads = torch is not None and torch.get_num_threads() > 1  # a fork would wait for them for ever
    return sys.platform == "linux" and task.is_main and not has_gpu and not has_threads


def fork(descriptor: int, not_theirs: Iterable[Connection], code: RunningCode | None) -> Forked:
    """Fork a process that begins with what comes through a socket. Call it while signals wait.

    Args:
        descriptor: of the process's end of the socket.
        not_theirs: the stage's ends of all sockets. The process closes them: as long as it had them, the others would
            not see that the stage is gone.
        code: of the stage's process.
    """
    _flush()
    _notice_ends()
    with warnings.catch_warnings():
        # The thread that waits for DVC's end holds no lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _begin_forked(descriptor, not_theirs, code)
    return Forked(pid)


def _begin_forked(descriptor: int, not_theirs: Iterable[Connection], code: RunningCode | None) -> NoReturn:
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for connection in not_theirs:
            connection.close()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        begin(descriptor, code)
        status = 0
    except BaseException:
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        # Whatever happens, it must not return into the code of the stage.
        with suppress(BaseException):
            _flush()
        os._exit(status)


def _notice_ends() -> None:
    """Where ends of children are ignored, nobody can wait for them and learn how they ended."""
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _flush() -> None:
    """What is buffered would be printed twice."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError):  # nobody reads it any more
                stream.flush()


def start_anew(task: Task, descriptor: int, kept: Iterable[int], gpu: str | None) -> subprocess.Popen[bytes]:
    """Start a Python that begins with what comes through a socket. Call it while signals wait.

    Args:
        descriptor: of the process's end of the socket.
        kept: what else stays open in it.
        gpu: the one that it sees, as CUDA_VISIBLE_DEVICES has it; None: all, or none.
    """
    _notice_ends()
    return subprocess.Popen(
        task.command(descriptor),
        stdin=subprocess.DEVNULL,
        pass_fds=(descriptor, *kept),
        env={**os.environ, "CUDA_VISIBLE_DEVICES": gpu} if gpu is not None else None,
    )

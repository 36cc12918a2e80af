"""A process that forks another for each that asks (`pipeline.preload.client`), and says how it ended.

It must have no threads of Python when it serves, so that it can fork safely.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from pipeline.preload.client import BEGUN, COLD

_MOST_BYTES = 1 << 16
_SECONDS_TO_ASK = 10.0
_OF_GROUP = (signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL)
"""Signals that what a forked process has started gets too."""


@dataclass(frozen=True)
class Request:
    """What to run: the environment, the folder and the three standard streams of the process that asks, and what it
    adds to that."""

    environment: Mapping[str, str]
    folder: str
    streams: tuple[int, ...]
    content: Mapping[str, Any]

    def take_place(self) -> None:
        """Have the environment, the folder and the streams of the process that asks."""
        for number, stream in enumerate(self.streams):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.folder)


@dataclass
class _Run:
    """A forked process, for the process at the other end of a connection.

    `ended` can be read when it has; `kill_at` is when it is killed, in seconds of `monotonic`, as nobody waits for it
    any more.
    """

    pid: int
    connection: socket.socket
    ended: int
    kill_at: float | None = None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with suppress(ProcessLookupError):
            if number in _OF_GROUP and os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)


class Server:
    """Serves until it is over.

    Args:
        listener: a bound socket.
        may_fork: whether a request may run in a fork of this process; where not, who asks runs it itself.
        is_over: asked when nothing runs.
        at_once: how many run at a time; more wait.
        grace_seconds: from SIGTERM to SIGKILL for one that nobody waits for any more; without a grace it gets SIGKILL.
        groups: each gets a process group of its own, which is paused and killed as a whole.
    """

    def __init__(
        self,
        listener: socket.socket,
        may_fork: Callable[[Request], bool],
        is_over: Callable[[], bool],
        *,
        at_once: int,
        grace_seconds: float = 0.0,
        groups: bool = False,
    ) -> None:
        self._listener, self._may_fork, self._is_over = listener, may_fork, is_over
        self._at_once, self._grace, self._groups = at_once, grace_seconds, groups
        self._runs: list[_Run] = []

    def serve(self) -> Request | None:
        """Fork a process for each request, and follow it to its end.

        Returns:
            in a forked process what it is to run; in this one None, when it is over.
        """
        while self._runs or not self._is_over():
            for file in self._ready():
                if file is self._listener and (request := self._accept()) is not None:
                    return request
                for run in self._runs.copy():
                    if file is run.connection:
                        self._pass_on(run)
                    elif file == run.ended:
                        self._finish(run)
            for run in self._runs:
                if run.kill_at is not None and monotonic() >= run.kill_at:
                    run.signal(signal.SIGKILL)
        return None

    def _ready(self) -> list[socket.socket | int]:
        files: list[socket.socket | int] = [self._listener] if len(self._runs) < self._at_once else []
        files += [run.ended for run in self._runs]
        files += [run.connection for run in self._runs if run.kill_at is None]
        kills = [run.kill_at for run in self._runs if run.kill_at is not None]
        return select.select(files, [], [], max(0.0, min(kills) - monotonic()) if kills else None)[0]

    def _accept(self) -> Request | None:
        """In a forked process the request; in this one None."""
        connection, _ = self._listener.accept()
        request = _receive(connection)
        if request is None:
            connection.close()
            return None
        ended = None
        pid = _fork() if self._may_fork(request) else None
        if pid == 0:
            if self._groups:
                os.setpgid(0, 0)
            self._leave(connection)
            return request
        _close(request.streams)
        if pid is not None:
            ended = os.pidfd_open(pid)
            self._runs.append(_Run(pid, connection, ended))
        with suppress(OSError):
            connection.sendall((COLD if pid is None else BEGUN).encode())
        if pid is None:
            connection.close()
        return None

    def _leave(self, connection: socket.socket) -> None:
        """In a forked process: close what is of the one that serves, which the others are to see the end of."""
        self._listener.close()
        connection.close()
        for run in self._runs:
            run.connection.close()
            os.close(run.ended)

    def _pass_on(self, run: _Run) -> None:
        numbers = b""  # who asked is gone
        with suppress(OSError):
            numbers = run.connection.recv(64)
        for number in numbers:
            run.signal(number)
        if not numbers:
            run.kill_at = monotonic() + self._grace
            if self._grace:
                run.signal(signal.SIGTERM)

    def _finish(self, run: _Run) -> None:
        status = os.waitstatus_to_exitcode(os.waitpid(run.pid, 0)[1])
        os.close(run.ended)
        self._runs.remove(run)
        with run.connection, suppress(OSError):
            run.connection.sendall(str(status).encode())


class QuickEnd:
    """Ends a process without taking its modules apart, which takes a forked one half a second.

    What is registered with `atexit` is called, and threads are waited for, as always. So make it before the imports:
    what is registered first is called last.
    """

    def __init__(self) -> None:
        self._status: int | None = None
        atexit.register(self._end)

    def after(self, work: Callable[[], object]) -> None:
        """Do the last work of the process; its status is what it always would be."""
        try:
            work()
        except SystemExit as end:
            if end.code is None or isinstance(end.code, int):
                self._status = end.code or 0
            raise
        self._status = 0

    def _end(self) -> None:
        if self._status is not None:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(self._status & 0xFF)


def _receive(connection: socket.socket) -> Request | None:
    """What a process of this user asks for; None where it ended before it had."""
    streams: list[int] = []
    try:
        _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user != os.geteuid():  # anybody may know an abstract name
            return None
        connection.settimeout(_SECONDS_TO_ASK)
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        text = b""
        while not text.endswith(b"\n"):
            part = connection.recv(_MOST_BYTES)
            if not part:
                raise ConnectionError
            text += part
        connection.settimeout(None)
        content = json.loads(text)
        return Request(content.pop("environment"), content.pop("folder"), tuple(streams), content)
    except OSError:
        _close(streams)
        return None


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _fork() -> int | None:
    """The id of a new process, 0 in that process; None where the system does not let it be forked and followed."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.close(os.pidfd_open(os.getpid()))  # a container may forbid it, or no descriptor be left
        return os.fork()
    except OSError:
        return None

"""A process that forks another for each that asks (`pipeline.preload.client`), and says how it ended.

It must have no threads of Python when it serves, so that it can fork safely.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from pipeline.preload.client import BEGUN, COLD, user_of

_MOST_BYTES = 1 << 16
_SECONDS_TO_ASK = 1.0
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
    signals: bytes = b""
    """Those that have come since, for what is to run."""

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
        with suppress(OSError):  # it has ended, or there is no such signal
            if number in _OF_GROUP and os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)


class Server:
    """Serves until it is over. After SIGTERM it accepts nothing more, and ends when nothing runs.

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
        self._stopping = False
        self._woken = -1

    def serve(self) -> Request | None:
        """Fork a process for each request, and follow it to its end.

        Returns:
            in a forked process what it is to run; in this one None, when it is over.
        """
        with self._stopped_by_sigterm():
            return self._serve()

    def _serve(self) -> Request | None:
        while self._runs or not (self._stopping or self._is_over()):
            for file in self._ready():
                if file == self._woken:
                    os.read(self._woken, _MOST_BYTES)
                    if self._stopping:
                        self._listener.close()  # who asks now runs it itself
                if file is self._listener and not self._stopping and (request := self._accept()) is not None:
                    return request
                for run in self._runs.copy():
                    if file is run.connection:
                        self._pass_on(run)
                    elif file == run.ended:
                        self._finish(run)
            for run in self._runs:
                if run.kill_at is not None and monotonic() >= run.kill_at:
                    run.signal(signal.SIGKILL)
                    run.kill_at = math.inf
        return None

    def _ready(self) -> list[socket.socket | int]:
        files: list[socket.socket | int] = [self._woken]
        if len(self._runs) < self._at_once and not self._stopping:
            files.append(self._listener)
        files += [run.ended for run in self._runs]
        files += [run.connection for run in self._runs if run.kill_at is None]
        kills = [run.kill_at for run in self._runs if run.kill_at is not None and run.kill_at < math.inf]
        return select.select(files, [], [], max(0.0, min(kills) - monotonic()) if kills else None)[0]

    @contextmanager
    def _stopped_by_sigterm(self) -> Iterator[None]:
        """Notice SIGTERM. Afterwards, and in forked processes, it is as it was before."""

        def stop(*_: object) -> None:
            self._stopping = True

        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        before = signal.signal(signal.SIGTERM, stop), signal.set_wakeup_fd(wake)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before[0])
            signal.set_wakeup_fd(before[1])
            _close((self._woken, wake))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _accept(self) -> Request | None:
        """In a forked process the request; in this one None."""
        connection, _ = self._listener.accept()
        request = _receive(connection)
        if request is None:
            connection.close()
            return None
        pid = _fork() if self._accepts(request) else None
        if pid == 0:
            if self._groups:
                os.setpgid(0, 0)
            self._leave(connection)
            return request
        _close(request.streams)
        if pid is not None:
            run = _Run(pid, connection, os.pidfd_open(pid))
            self._runs.append(run)
        with suppress(OSError):
            connection.sendall((COLD if pid is None else f"{BEGUN}{pid} ").encode())
        if pid is None:
            connection.close()
        else:
            for number in request.signals:
                run.signal(number)
        return None

    def _accepts(self, request: Request) -> bool:
        try:
            return not self._stopping and self._may_fork(request)
        except (KeyError, TypeError):  # of another version
            return False

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
        if user_of(connection) != os.geteuid():  # anybody may know an abstract name
            return None
        connection.settimeout(_SECONDS_TO_ASK)
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        text, end, signals = b"", b"", b""
        while not end:
            part = connection.recv(_MOST_BYTES)
            if not part:
                raise ConnectionError
            text, end, signals = (text + part).partition(b"\n")
        connection.settimeout(None)
        content = json.loads(text)
        return Request(content.pop("environment"), content.pop("folder"), tuple(streams), content, signals)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # ended, too slow, or of another version
        _close(streams)
        return None


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _fork() -> int | None:
    """The id of a new process, 0 in that process; None where the system does not let it be forked and followed."""
    sys.stdout.flush()
    sys.stderr.flush()
    # In the new process it waits until its handler is no longer that of this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    pid = None
    try:
        os.close(os.pidfd_open(os.getpid()))  # a container may forbid it, or no descriptor be left
        pid = os.fork()
    except OSError:
        return None
    finally:
        if pid != 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return pid

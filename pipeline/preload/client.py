"""Has a process of `pipeline.preload.serving` run what this one was started for, and ends as that does.

Imports the standard library only, and nothing of the project, so that it starts in milliseconds and can be copied.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress

COLD = "cold"
"""The answer of a server that does not run it: this process is to do so itself."""

BEGUN = "+"
"""What a server sends before the id of the process that it has forked, a space, and at its end the status."""

_RELAYED = (signal.SIGTERM, signal.SIGINT)


def ask(address: str, content: Mapping[str, object], ends: Mapping[int, int] | None = None) -> str:
    """Have a server run something in the environment and the folder of this process, with its standard streams.

    Until it has ended, this process passes SIGTERM and SIGINT on to it, unless it ignores them, and pauses it while it
    is paused itself (Ctrl-Z).

    Args:
        address: of the server, see `place_of`.
        content: what the server is to run, for JSON.
        ends: open files, pidfds for instance, each with the signal that it gets when that file can be read.

    Returns:
        how it ended, as `subprocess.Popen.returncode` has it; empty where the server was killed, and it has ended; or
        `COLD`.
    """
    with socket.socket(socket.AF_UNIX) as server:
        try:
            server.connect(place_of(address))
            if user_of(server) != os.geteuid():  # an abstract name is anybody's once the server is gone
                return COLD
            socket.send_fds(server, [b"\n"], [0, 1, 2])
            request = {"environment": dict(os.environ), "folder": os.getcwd(), **content}
            server.sendall(f"{json.dumps(request)}\n".encode())
        except OSError:
            return COLD
        before = {number: signal.getsignal(number) for number in (*_RELAYED, signal.SIGTSTP)}
        heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        relayed: list[int] = []

        def relay(number: int, _frame: object = None) -> None:
            if number != signal.SIGTSTP:  # which this process has heeded itself
                relayed.append(number)
            _relay(server, number)

        for number in heeded:
            signal.signal(number, relay)
        pid, _, answer = _wait(server, ends or {}, relay).removeprefix(BEGUN).partition(" ")
        if not pid.isdecimal():
            answer = COLD
            for number in heeded:
                signal.signal(number, before[number])
            for relayed_number in relayed:  # to nobody
                os.kill(os.getpid(), relayed_number)
        elif not answer:
            _wait_for(int(pid))
    return answer


def place_of(address: str) -> str:
    """Where the socket of a server is: its path, or an abstract name, which is written with an @ before it."""
    return f"\0{address[1:]}" if address.startswith("@") else address


def user_of(connection: socket.socket) -> int:
    """The id of the user at the other end."""
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(user)


def end_as(answer: str) -> int:
    """End as the process that ran elsewhere did: by the same signal, or return its status, 1 if that is not known."""
    status = int(answer) if answer else 1
    if status >= 0:
        return status
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # that process has dumped core already, if at all
    if status != -signal.SIGKILL:  # which is always its own
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
    return 128 - status  # after a signal that does not end a process


def _wait(server: socket.socket, ends: Mapping[int, int], relay: Callable[[int], None]) -> str:
    answer = b""
    watched = select.poll()
    for descriptor in (server.fileno(), *ends):
        watched.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in watched.poll():
            if descriptor != server.fileno():
                watched.unregister(descriptor)
                relay(ends[descriptor])
                continue
            part = b""
            with suppress(ConnectionError):
                part = server.recv(64)
            if not part:
                return answer.decode()
            answer += part


def _wait_for(pid: int) -> None:
    """Wait for the end of a process whose parent is gone, and which may be saving its state."""
    with suppress(OSError):  # it has ended
        ended = os.pidfd_open(pid)
        select.select([ended], [], [])
        os.close(ended)


def _relay(server: socket.socket, number: int) -> None:
    with suppress(OSError):  # it has just ended
        if number != signal.SIGTSTP:
            server.sendall(bytes([number]))
            return
        server.sendall(bytes([signal.SIGSTOP]))
        os.kill(os.getpid(), signal.SIGSTOP)
        server.sendall(bytes([signal.SIGCONT]))

"""SIGTERM and SIGINT: work ends at once, or at its next safe point if it asks for that.

A second signal ends it at once in any case, unless it only repeats the first: `timeout` signals its command and then
the command's process group.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import NamedTuple

PARENT_IS_GONE = signal.SIGUSR1
"""A process of a stage takes it for the end of what started it."""
_SECONDS_OF_ONE = 1.0
"""Signals that follow one within this time repeat it, whichever of the two they are."""


class Stopped(BaseException):
    """A signal asked the process to end; its exit `status` is 128 plus the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number


class _Asked(NamedTuple):
    number: int
    at: float
    """Seconds of `monotonic`."""


_asked: list[_Asked] = []
"""The signals that have come, without those that repeat one."""
_deferred: list[bool] = []


def handle_signals() -> None:
    """From now on SIGTERM and SIGINT raise `Stopped` in the main thread."""
    _asked.clear()
    for number in (signal.SIGTERM, signal.SIGINT):
        # A process in the background of a shell ignores SIGINT, and is to go on doing so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    now = monotonic()
    if _asked and now - _asked[-1].at < _SECONDS_OF_ONE:
        return
    _asked.append(_Asked(number, now))
    if not _deferred or len(_asked) > 1:
        raise Stopped(number)


def ignore_signals() -> None:
    """Ignore signals, as the process is about to end."""
    for number in (signal.SIGTERM, signal.SIGINT, PARENT_IS_GONE):
        signal.signal(number, signal.SIG_IGN)


def end_with_parent() -> None:
    """Take the end of what started this process, however it ended, for a SIGTERM; where there is no Linux, nothing
    changes.

    Whoever ends a parent often ends its children too, so that it never counts as a second signal.
    """
    if sys.platform != "linux":
        return
    signal.signal(PARENT_IS_GONE, lambda _, frame: None if _asked else _handle(signal.SIGTERM, frame))
    ends = select.poll()
    for pid in started_by():
        with suppress(OSError):  # an old kernel, or a parent outside of the container
            ends.register(os.pidfd_open(pid), select.POLLIN)

    def signal_end() -> None:
        ends.poll()
        os.kill(os.getpid(), PARENT_IS_GONE)

    with signals_waiting():  # the thread's own mask: signals are for the main one
        threading.Thread(target=signal_end, daemon=True).start()


def started_by() -> list[int]:
    """The parent of this process, and where that is a shell that waits (`sh -c`, dash's way) what started that."""
    found = [os.getppid()]
    with suppress(OSError):  # it has just ended
        while _is_shell_with_command(found[-1]):
            found.append(int(Path(f"/proc/{found[-1]}/stat").read_text().rpartition(") ")[2].split()[1]))
    return found


def _is_shell_with_command(pid: int) -> bool:
    name, *arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return name.endswith(b"sh") and b"-c" in arguments


@contextmanager
def safe_points() -> Iterator[None]:
    """Within this, a first signal waits for the next `stop_if_requested`."""
    _deferred.append(True)
    try:
        yield
    finally:
        _deferred.pop()


def stop_requested() -> bool:
    """Whether a signal is pending."""
    return bool(_asked)


def is_urgent() -> bool:
    """Whether a second signal has come, which ends the process at once."""
    return len(_asked) > 1


def stop_if_requested() -> None:
    """End here if a signal has come.

    Raises:
        Stopped: one has.
    """
    if _asked:
        raise Stopped(_asked[0].number)


@contextmanager
def signals_waiting() -> Iterator[None]:
    """Within this, Ctrl-C and SIGTERM wait. A process that is started within does not get them until it asks for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

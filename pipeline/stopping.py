"""SIGTERM and SIGINT: work ends at once, or, where it asks for it, at its next safe point.

A second signal ends it at once in any case.
"""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_PR_SET_PDEATHSIG = 1  # of Linux's prctl.h
_PARENT_IS_GONE = signal.SIGUSR1


class Stopped(BaseException):
    """Someone asked the process to end; `status` is what it ends with, 128 plus the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number


_asked: list[int] = []
_deferred: list[bool] = []


def heed_signals() -> None:
    """From now on SIGTERM and SIGINT raise `Stopped` in the main thread."""
    _asked.clear()
    for number in (signal.SIGTERM, signal.SIGINT):
        # A process in the background of a shell ignores SIGINT, and is to go on doing so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    _asked.append(number)
    if not _deferred or len(_asked) > 1:
        raise Stopped(number)


def heed_nothing_more() -> None:
    """The process is about to end: signals come too late."""
    for number in (signal.SIGTERM, signal.SIGINT, _PARENT_IS_GONE):
        signal.signal(number, signal.SIG_IGN)


def end_with_parent() -> None:
    """Take the end of this process's parent, however it ended, for a SIGTERM; where there is no Linux, nothing changes.

    Whoever ends a parent often ends its children too, so that it never counts as a second signal.
    """
    signal.signal(_PARENT_IS_GONE, lambda _, frame: None if _asked else _handle(signal.SIGTERM, frame))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _PARENT_IS_GONE)


@contextmanager
def safe_points() -> Iterator[None]:
    """Within this, a first signal waits for the next `stop_if_asked`."""
    _deferred.append(True)
    try:
        yield
    finally:
        _deferred.pop()


def is_asked() -> bool:
    """Whether a signal waits."""
    return bool(_asked)


def stop_if_asked() -> None:
    """End here if a signal has come.

    Raises:
        Stopped: one has.
    """
    if _asked:
        raise Stopped(_asked[0])

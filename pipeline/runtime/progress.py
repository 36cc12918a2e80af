"""Shows progress: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0

Item = TypeVar("Item")


_LINE = re.compile(r".+: (\d+)/(0*[1-9]\d*) (\S+, \S+ \S+/s, \d+:\d\d left.*)")


def parse_progress(line: str) -> tuple[float, str] | None:
    """The share done, 0..1, and the rest of a line that `Progress` wrote to a log; None for any other line."""
    found = _LINE.fullmatch(line)
    return (int(found[1]) / int(found[2]), f"{found[1]} of {found[2]} {found[3]}") if found else None


class Listener(Protocol):
    """Receives the progress of one of several processes, instead of printing it."""

    def begin(self, total: int, done: int) -> None:
        """There are `total` units for all processes; of those of this one `done` had been done before."""

    def advance(self, count: int) -> None:
        """So many more are done."""


_listeners: list[Listener] = []


def report_to(listener: Listener) -> None:
    """From now on nothing is printed in this process."""
    _listeners.append(listener)


class Progress:
    """Counts `total` units of work of `what`, 0 where it is not known how many there are; use as a context manager and
    call `advance`."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = self._before = 0
        self._started = self._last_line = time.monotonic()
        self._bar = (
            tqdm(total=total or None, desc=what, unit=unit, leave=False)
            if sys.stderr.isatty() and not _listeners
            else None
        )

    def __enter__(self) -> Progress:
        return self

    def begin_at(self, done: int) -> None:
        """So many units had been done before; the speed is that of the rest."""
        for listener in _listeners:
            listener.begin(self._total, done)
        self._done = self._before = done
        if self._bar is not None:
            self._bar.initial = done
            self._bar.n = done

    def advance(self, count: int = 1, note: str = "") -> None:
        """Note `count` more units done; `note` is shown with them, e.g. the loss."""
        if _listeners:
            for listener in _listeners:
                listener.advance(count)
            return
        self._done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            speed = (self._done - self._before) / (self._last_line - self._started)
            done, left = f"{self._done}", ""
            if self._total:
                seconds = round((self._total - self._done) / speed)
                done, left = f"{self._done}/{self._total}", f", {seconds // 60}:{seconds % 60:02d} left"
            print(
                f"{self._what}: {done} {self._unit}, {speed:.1f} {self._unit}/s{left}" + (f", {note}" if note else ""),
                file=sys.stderr,
                flush=True,
            )

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def track(items: Iterable[Item], what: str, total: int, unit: str = "images", done: int = 0) -> Iterator[Item]:
    """Yield `items`, each counted when it is done; `done` of the `total` had been before."""
    with Progress(what, total, unit) as progress:
        progress.begin_at(done)
        for item in items:
            yield item
            progress.advance()

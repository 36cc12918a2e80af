"""Runs a command whose processes never outlive the caller: `python -I -S guard.py GRACE_SECONDS COMMAND ...`.

The guard leads a session and process group of its own, and adopts the orphans of what the command starts, in whatever
session. They are ended (SIGTERM, after the grace SIGKILL) when the command ends, when the guard is asked to stop by
SIGTERM, and when its standard input closes: the caller holds the other end, so that happens however the caller dies.
Should the guard itself be killed, the kernel kills the command, and the caller the rest of the group. Exits as the
command did: 128 + N after signal N, 127 where it cannot be started. Needs the standard library only, so that it starts
in milliseconds, and Linux.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run the command to its end, and return its exit status."""
    grace_seconds, command = float(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stops.append(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        # Its standard input is not the guard's: by that pipe the guard knows that the caller lives.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_the_guard)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    watched = [sys.stdin.fileno(), woken]
    while child.poll() is None and not stops:
        ready, _, _ = select.select(watched, [], [])
        if watched[0] in ready and not os.read(watched[0], 1):
            break
        if woken in ready:
            os.read(woken, 1024)
    _end_the_others(grace_seconds)
    status = child.wait()
    return 128 - status if status < 0 else status


def _die_with_the_guard() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_the_others(grace_seconds: float) -> None:
    deadline = time.monotonic() + grace_seconds
    terminated: set[int] = set()
    while others := _others():
        # One that forks while the list is read has a child that is not on it: the next list has.
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for pid, near in others.items():
            if number == signal.SIGKILL or (near and pid not in terminated):
                _signal(pid, number)
                terminated.add(pid)
        time.sleep(0.02)


def _others() -> dict[int, bool]:
    """The living processes that stem from the guard, and those of its session; whether the guard itself ends them.

    One in another session is ended by what started it, a guard perhaps, and by this one only when that is gone.
    """
    own, session = os.getpid(), os.getsid(0)
    pids = map(int, filter(str.isdigit, os.listdir("/proc")))
    living = {pid: ids for pid in pids if (ids := _parent_and_session(pid))}
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in living.items():
        children.setdefault(parent, []).append(pid)
    found = {pid: True for pid, (_, its_session) in living.items() if its_session == session}
    waiting = [own, *found]
    while waiting:
        parent = waiting.pop()
        new = {pid: parent == own for pid in children.get(parent, ()) if pid not in found}
        found.update(new)
        waiting += new
    return {pid: near for pid, near in found.items() if pid != own}


def _parent_and_session(pid: int) -> tuple[int, int] | None:
    """The parent and the session of a living process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state, parent, _, session = file.read().rpartition(") ")[2].split()[:4]
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else (int(parent), int(session))


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main())

"""Runs a command under a guard: passes on its lines, applies a time limit, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")


class Guarded:
    """A running command, with everything it has started.

    Args:
        grace_seconds: between SIGTERM and SIGKILL when it is stopped.
        keep_open: file descriptors that stay open as long as anything of the command may be alive.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        grace_seconds: float = 10.0,
        keep_open: Sequence[int] = (),
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), str(grace_seconds), *command],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=tuple(keep_open),
        )
        self._lock = threading.Lock()
        self._ended = False
        self._sweeper = threading.Thread(target=self._sweep, daemon=True)
        self._sweeper.start()

    @property
    def pid(self) -> int:
        """The guard's process id, which is also that of its process group."""
        return self._process.pid

    def stop(self) -> None:
        """End it, SIGTERM first; returns at once."""
        with self._lock:
            if not self._ended:
                # Not terminate(), which would reap a guard that has just died before its group is swept.
                os.kill(self._process.pid, signal.SIGTERM)

    def wait(self, on_line: Callable[[str], None]) -> int:
        """Hand over its lines, both streams in one, until nothing of it is left; the exit status as in a shell."""
        assert self._process.stdout is not None and self._process.stdin is not None
        try:
            for line in self._process.stdout:
                on_line(line.rstrip("\n"))
        except BaseException:
            self.stop()
            raise
        finally:
            self._sweeper.join()
            self._process.stdin.close()
            self._process.stdout.close()
        status = self._process.returncode
        return 128 - status if status < 0 else status

    def _sweep(self) -> None:
        # A guard that was killed cannot end its group. Until it is reaped its id cannot become another group's.
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._ended = True
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

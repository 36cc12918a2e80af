"""Files written in a thread, while the process computes what comes next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_MOST_BYTES = 256 << 20


class Behind:
    """Runs steps in one thread, in the order in which they are given.

    What a step raises is raised by a later `run` and by `wait`; no step after it is run.

    Args:
        most_bytes: limit on the bytes held by waiting steps. `run` blocks while it would be exceeded.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._thread = ThreadPoolExecutor(1, "writing")
        self._steps: deque[tuple[Future[None], int]] = deque()
        self._most, self._held = most_bytes, 0
        self._failed = False

    def run(self, step: Callable[[], None], held: int = 0) -> Future[None]:
        """Queue a step; block while the queue holds too much.

        Args:
            held: bytes that it keeps in memory until it has run.

        Raises:
            What a step before it has raised.
        """
        while self._steps and (self._steps[0][0].done() or self._held + held > self._most):
            self._wait_for_first()
        done = self._thread.submit(self._run_unless_failed, step)
        self._steps.append((done, held))
        self._held += held
        return done

    def wait(self) -> None:
        """Wait until all steps have run.

        Raises:
            What one of them has raised.
        """
        while self._steps:
            self._wait_for_first()

    def close(self) -> None:
        """Run the steps that are left, without raising what they raise, and end the thread."""
        self._thread.shutdown()

    def _run_unless_failed(self, step: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            step()
        except BaseException:
            self._failed = True
            raise

    def _wait_for_first(self) -> None:
        done, held = self._steps[0]
        done.result()
        self._steps.popleft()
        self._held -= held
